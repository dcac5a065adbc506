/** Promises 8 and 12: the queue's server can be gone, or hang, at any time. */
import { expect, it, onTestFinished } from 'vitest';
import { openBreakableLink } from '../support/breakable-link.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { customersByPostgres, done, gate, openTestQueue, tickOf } from './harness.ts';

describeOnBothQueues('a queue that is gone', (backend) => {
  const openLinked = async () => {
    const link = await openBreakableLink(backend.url, backend.kind === 'redis' ? 6379 : 5432);
    onTestFinished(() => link.close());
    return { link, queue: await openTestQueue(backend, link.url) };
  };

  it.each(['cut', 'freeze'] as const)('(%s) refuses a customer in bounded time', async (fault) => {
    const { link, queue } = await openLinked();
    link[fault]();
    const began = performance.now();
    await expect(queue.sync.enqueueSync('acme')).rejects.toThrow();
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  it.each(['cut', 'freeze'] as const)('(%s) is found again by the worker and the tick', async (fault) => {
    const { link, queue } = await openLinked();
    const customers = customersByPostgres(5);
    const worker = await queue.startWorker({ runSync: customers.runSync });
    await waitFor(() => worker.lastActivityAt() > 0, { describe: 'a first poll' });
    link[fault]();
    tickOf(queue, customers.listDue);
    await waitFor(() => queue.logs.count('tick: failing'), {
      describe: 'the tick to fail',
      timeoutMs: 10_000,
    });
    link.heal();
    await waitFor(() => customers.due.size === 0, { describe: 'all customers', timeoutMs: 60_000 });
    expect(customers.synced).toHaveLength(5);
  });

  it('is logged once a streak, not once a try, and again when it is back', async () => {
    const { link, queue } = await openLinked();
    const started = gate<void>();
    const turn = gate<typeof done>();
    await queue.startWorker({
      runSync: () => {
        started.open();
        return turn.opened;
      },
    });
    await queue.sync.enqueueSync('acme');
    await started.opened;
    link.cut();
    turn.open(done);
    await waitFor(() => queue.logs.count("worker's queue") === 1, { describe: 'the outage to be logged' });
    let ticks = 0;
    const listDue = async () => [`customer ${ticks++}`];
    tickOf(queue, listDue);
    await waitFor(() => ticks >= 10, { describe: 'ten ticks during the outage' });
    // The worker, the producer and the tick each notice it.
    expect(queue.logs.count('failing')).toBeLessThanOrEqual(3);

    link.heal();
    await waitFor(() => queue.sync.enqueueSync('acme').then(() => true), {
      describe: 'the queue to be back',
    });
    await waitFor(() => queue.logs.count("worker's queue") === 2, {
      describe: 'its return',
      timeoutMs: 10_000,
    });
    // A busy BullMQ worker whose Postgres goes away asks for its next job 2,000 times a second.
    const [, failures] = /"failures":(\d+),"msg":"worker's queue/.exec(queue.logs.text()) ?? [];
    expect(Number(failures)).toBeLessThan(100);
  });

  it('while a turn ends costs the worker’s place no longer than the queue is gone', async () => {
    const { link, queue } = await openLinked();
    const started = gate<void>();
    const turn = gate<typeof done>();
    const synced: string[] = [];
    await queue.startWorker({
      runSync: (customerId) => {
        synced.push(customerId);
        started.open();
        return turn.opened;
      },
    });
    await queue.sync.enqueueSync('acme');
    await started.opened;
    let ticks = 0;
    await link.away(async () => {
      turn.open(done);
      tickOf(queue, async () => [`customer ${ticks++}`]);
      await waitFor(() => ticks >= 5, { describe: 'five ticks, and the end of the turn, in vain' });
    });

    // BullMQ's own pause would keep the place for 15 s.
    await waitFor(() => synced.length > 1, { describe: 'another turn', timeoutMs: 10_000 });
  });

  it.each(['cut', 'freeze'] as const)('(%s) does not keep an idle worker from closing', async (fault) => {
    const { link, queue } = await openLinked();
    const worker = await queue.startWorker({ runSync: async () => done });
    link[fault]();
    const began = performance.now();
    await worker.close(1_000);
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(worker.isRunning()).toBe(false);
  });

  it.each(['cut', 'freeze'] as const)('(%s) does not keep a busy worker from closing', async (fault) => {
    const { link, queue } = await openLinked();
    const started = gate<void>();
    const worker = await queue.startWorker({
      runSync: (_customer, signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => resolve({ kind: 'stopped', runId: 'run' }));
          started.open();
        }),
    });
    await queue.sync.enqueueSync('acme');
    await started.opened;
    link[fault]();
    const began = performance.now();
    await worker.close(1_000);
    expect(performance.now() - began).toBeLessThan(5_000);
  });
});
