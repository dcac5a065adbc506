import { setImmediate } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { startTick, type TickOptions } from '../../src/queue/tick.ts';
import { waitFor } from '../support/wait-for.ts';
import { collectLogs } from './harness.ts';

type TestOptions = Partial<TickOptions & TickOptions['queue']> & Pick<TickOptions, 'listDue'>;

/** A tick whose pauses take no time, and a record of them. Nobody waits in its queue. */
function tickWith({ enqueueMany, counts = countsOf(0), ...options }: TestOptions) {
  const logs = collectLogs();
  const pauses: number[] = [];
  const enqueued: string[][] = [];
  const tick = startTick({
    everyMs: 1_000,
    queue: { enqueueMany: enqueueMany ?? (async (ids) => void enqueued.push([...ids])), counts },
    log: logs.log,
    sleep: (ms) => {
      pauses.push(ms);
      return setImmediate();
    },
    ...options,
  });
  onTestFinished(() => tick.stop(100));
  return { tick, logs, pauses, enqueued };
}

const countsOf = (waiting: number) => async () => ({ waiting, active: 0, delayed: 0, failed: 0 });

it('enqueues whoever is due, at once and then again and again', async () => {
  const { enqueued } = tickWith({ listDue: async (limit) => ['acme', String(limit)], limit: 7 });
  await waitFor(() => enqueued.length >= 3, { describe: 'three ticks' });
  expect(enqueued[0]).toEqual(['acme', '7']);
});

it('asks nothing of the queue when nobody is due', async () => {
  const { enqueued, pauses } = tickWith({ listDue: async () => [] });
  await waitFor(() => pauses.length >= 3, { describe: 'three ticks' });
  expect(enqueued).toEqual([]);
});

it('comes back sooner while it does not reach everybody', async () => {
  let left = 5;
  const { enqueued, pauses } = tickWith({
    listDue: async (limit) =>
      Array.from({ length: Math.min(limit, left--) }, (_, index) => `customer ${index}`),
    limit: 3,
    random: () => 0.5,
  });
  await waitFor(() => pauses.length >= 4, { describe: 'four ticks' });
  expect(pauses.slice(0, 4)).toEqual([200, 200, 200, 1_000]);
  expect(enqueued.slice(0, 4).map(({ length }) => length)).toEqual([3, 3, 3, 2]);
});

it('adds nobody while more are due than it lists and as many wait in the queue', async () => {
  let waiting = 3;
  let due = ['one', 'two', 'three'];
  const { enqueued, pauses } = tickWith({
    listDue: async () => due,
    counts: async () => ({ ...(await countsOf(waiting)()), active: 10, delayed: 10 }),
    limit: 3,
  });
  await waitFor(() => pauses.length >= 3, { describe: 'three ticks' });
  expect(enqueued).toEqual([]);

  waiting = 2;
  await waitFor(() => enqueued.length > 0, { describe: 'the queue to be filled' });
  expect(enqueued[0]).toEqual(due);

  // Nobody else is due: one of them may be missing in the queue, however many wait there.
  [waiting, due] = [3, ['one']];
  await waitFor(() => enqueued.at(-1)?.length === 1, { describe: 'the last one' });
});

it('never overlaps with itself, however slow it is', async () => {
  let running = 0;
  let most = 0;
  let ticks = 0;
  tickWith({
    everyMs: 0,
    listDue: async () => {
      running += 1;
      ticks += 1;
      most = Math.max(most, running);
      for (let turn = 0; turn < 20; turn += 1) await setImmediate();
      return ['acme'];
    },
    enqueueMany: async () => {
      await setImmediate();
      running -= 1;
    },
  });
  await waitFor(() => ticks >= 5, { describe: 'five ticks' });
  expect(most).toBe(1);
});

it('pauses a quarter less to a quarter more than it was told, so that processes drift apart', async () => {
  const dice = [0, 0.5, 0.999];
  const { pauses } = tickWith({ listDue: async () => [], random: () => dice[pauses.length % 3] ?? 0 });
  await waitFor(() => pauses.length >= 3, { describe: 'three pauses' });
  expect(pauses.slice(0, 3).map(Math.round)).toEqual([750, 1_000, 1_250]);
});

it('survives a database and a queue that fail, and says so once a streak', async () => {
  let ticks = 0;
  const { logs, enqueued } = tickWith({
    listDue: async () => {
      ticks += 1;
      if (ticks <= 10) throw new Error('Postgres is away');
      return ['acme'];
    },
    enqueueMany: async (ids) => {
      if (ticks <= 20) throw new Error('the queue is away');
      enqueued.push([...ids]);
    },
  });
  await waitFor(() => enqueued.length > 0, { describe: 'the tick to work again' });
  expect(logs.count('tick: failing')).toBe(1);
  expect(logs.count('tick: working again')).toBe(1);
  expect(logs.text()).toContain('"failures":20');
});

it('stops at once while it pauses', async () => {
  const logs = collectLogs();
  let ticks = 0;
  const listDue = async () => {
    ticks += 1;
    return [];
  };
  const queue = { enqueueMany: async () => {}, counts: countsOf(0) };
  const tick = startTick({ everyMs: 60_000, listDue, queue, log: logs.log });
  await waitFor(() => ticks === 1, { describe: 'the first tick' });
  await tick.stop(1_000);
  expect(logs.text()).toBe('');
  expect(ticks).toBe(1);
});

it('stops in bounded time though the database hangs, and enqueues nobody after that', async () => {
  const { promise: answer, resolve } = Promise.withResolvers<string[]>();
  const { tick, logs, enqueued } = tickWith({ listDue: () => answer });
  const began = performance.now();
  await tick.stop(50);
  expect(performance.now() - began).toBeLessThan(5_000);
  expect(logs.text()).toContain('did not end in time');

  resolve(['acme']);
  await setImmediate();
  expect(enqueued).toEqual([]);
});
