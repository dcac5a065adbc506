/** Promise 10: one budget of requests for all processes, wherever the queue is. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { RateLimiterRes } from 'rate-limiter-flexible';
import { expect, it, onTestFinished } from 'vitest';
import { type Budget, openBudget } from '../../src/queue/budget.ts';
import { migrateQueue, openQueueConnection } from '../../src/queue/connection.ts';
import { describeOnBothQueues, type TestQueueBackend } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { collectLogs, type Logs } from './harness.ts';

const never = new AbortController().signal;

/** One process's budget; it ends with the test. */
function open({ url, prefix }: TestQueueBackend, perSecond: number, { log }: Logs = collectLogs()): Budget {
  const budget = openBudget({ connection: openQueueConnection(url, prefix), perSecond, log });
  onTestFinished(() => budget.close());
  return budget;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

it('asks more and more at once while nobody has to wait, at most 16; from the first that has to, one by one', async () => {
  const asked: { grant(): void; refuse(): void }[] = [];
  const consume = () =>
    new Promise<RateLimiterRes>((resolve, reject) => {
      const leftMs = new RateLimiterRes(0, 1);
      asked.push({ grant: () => resolve(leftMs), refuse: () => reject(leftMs) });
    });
  const store = { limiter: { consume }, close: async () => {} };
  const connection = { where: 'here', openBudgetStore: () => store };
  const budget = openBudget({ connection, perSecond: 1, log: collectLogs().log });
  const askedAtOnce = (count: number) =>
    waitFor(() => asked.length, { describe: `${count} to ask at once`, until: (length) => length >= count });
  const requests = Array.from({ length: 100 }, () => budget.acquire(never));

  const granted: number[] = [];
  for (const expected of [1, 2, 4, 8, 16, 16]) {
    await askedAtOnce(expected);
    granted.push(asked.length);
    for (const { grant } of asked.splice(0)) grant();
  }
  expect(granted).toEqual([1, 2, 4, 8, 16, 16]);

  await askedAtOnce(16);
  for (const { refuse } of asked.splice(0)) refuse();
  await askedAtOnce(16);
  for (const { grant } of asked.splice(0)) grant();
  await askedAtOnce(1);
  expect(asked, 'whoever stood in line behind them').toHaveLength(1);

  const waiting = waitFor(() => asked.splice(0).map(({ grant }) => grant()), {
    describe: 'all requests to be granted',
    until: () => isOver,
  });
  let isOver = false;
  await Promise.all([waiting, Promise.all(requests).then(() => (isOver = true))]);
});

describeOnBothQueues('the budget', (backend) => {
  it('is one for two processes, and both have their share of it', async () => {
    await migrateQueue(backend.url, backend.prefix);
    const logs = collectLogs();
    const processes = [open(backend, 100, logs), open(backend, 100, logs)];
    for (const budget of processes) await budget.acquire(never);

    let left = 60;
    const shares = [0, 0];
    const work = async (budget: Budget, at: number) => {
      while (left-- > 0) {
        await budget.acquire(never);
        shares[at] = (shares[at] ?? 0) + 1;
      }
    };
    const tookMs = await timed(() => Promise.all(processes.map(work)));

    // 100 a second are one in 10.5 ms; two budgets would take half of that. The last window's start may be made good.
    expect(tookMs).toBeGreaterThan(60 * 10.5 - 30);
    expect(Math.min(...shares)).toBeGreaterThan(10);
    expect(logs.text()).toBe('');
  });

  it('lets nobody wait who is told to stop, and loses nothing by it; a store that forgets all counts afresh', async () => {
    await migrateQueue(backend.url, backend.prefix);
    const budget = open(backend, 1);
    await budget.acquire(never);
    const stop = new AbortController();
    const waiting = [budget.acquire(stop.signal), budget.acquire(stop.signal)];
    const settled = Promise.allSettled(waiting);
    const tookMs = await timed(async () => {
      stop.abort(new Error('stop'));
      await settled;
    });
    expect(tookMs).toBeLessThan(200);
    await expect(waiting[1]).rejects.toBe(stop.signal.reason);
    await expect(budget.acquire(stop.signal)).rejects.toBe(stop.signal.reason);

    await backend.burn();
    expect(await timed(() => budget.acquire(never))).toBeLessThan(900);
  });

  it('without its store is a quarter of it for each process: neither without bound nor stuck', async () => {
    const logs = collectLogs();
    const gone = {
      ...backend,
      url: backend.kind === 'redis' ? 'redis://127.0.0.1:1' : 'postgres://127.0.0.1:1/gone',
    };
    const budget = open(gone, 80, logs);
    const tookMs = await timed(() => Promise.all(Array.from({ length: 5 }, () => budget.acquire(never))));
    expect(tookMs).toBeGreaterThan(4 * 50);
    expect(tookMs).toBeLessThan(5_000);
    expect(logs.count('failing')).toBe(1);
  });

  it('is asked once of a store that takes a while to fail, not by each request in line', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    const sockets = new Set<Socket>();
    silent.on('connection', (socket) => sockets.add(socket.on('error', () => {})));
    await once(silent, 'listening');
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      silent.close();
    });
    const scheme = backend.kind === 'redis' ? 'redis' : 'postgres';
    const url = `${scheme}://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const budget = open({ ...backend, url }, 400);
    const failsAfterMs = await timed(() => budget.acquire(never));
    const restMs = await timed(() => Promise.all(Array.from({ length: 10 }, () => budget.acquire(never))));
    expect(failsAfterMs, 'it does take a while').toBeGreaterThan(500);
    expect(restMs).toBeLessThan(2 * failsAfterMs);
  });
});
