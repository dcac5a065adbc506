import { expect, it } from 'vitest';
import { deduplicationId } from '../../src/queue/job.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { done, gate, inAnHour, lastWords, later, openTestQueue, type TestQueue } from './harness.ts';

/** A worker that ends without a word as soon as `isTime`, in the middle of a turn. */
async function dieWhen(
  queue: TestQueue,
  options: Parameters<TestQueue['startWorker']>[0],
  isTime: () => boolean,
): Promise<void> {
  const worker = await queue.startWorker(options);
  await waitFor(isTime, { describe: 'the turn in which it dies' });
  await worker.close(0);
}

describeOnBothQueues('a worker', (backend) => {
  it('closes in time though a sync ignores the signal', async () => {
    const queue = await openTestQueue(backend);
    const started = gate<void>();
    const worker = await queue.startWorker({
      runSync: () => {
        started.open();
        return new Promise(() => {});
      },
    });
    await queue.sync.enqueueSync('acme');
    await started.opened;
    const began = performance.now();
    await worker.close(500);
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(queue.logs.text()).toContain('did not end in time');
  });

  it('that dies leaves its customer to another one', async () => {
    const queue = await openTestQueue(backend);
    const started = gate<void>();
    const lockMs = 300;
    const dead = await queue.startWorker({
      lockMs,
      runSync: () => {
        started.open();
        return new Promise(() => {});
      },
    });
    await queue.sync.enqueueSync('acme');
    await started.opened;
    await dead.close(0);
    const rescued = gate<void>();
    await queue.startWorker({
      lockMs,
      runSync: async () => {
        rescued.open();
        return done;
      },
    });
    await rescued.opened;
    await waitFor(() => queue.sync.counts(), {
      describe: 'the job to end',
      until: ({ active }) => active === 0,
    });
  });

  it('that dies once too often has it written down before the job ends, and the customer is free for the tick', async () => {
    const queue = await openTestQueue(backend);
    const lockMs = 150;
    let turns = 0;
    const told: { customerId: string; times: number; failed: number }[] = [];
    await queue.sync.enqueueSync('acme');
    for (let death = 1; death <= 4; death += 1) {
      const runSync = () => {
        turns += 1;
        return new Promise<never>(() => {});
      };
      await dieWhen(queue, { lockMs, runSync }, () => turns === death);
    }
    await queue.startWorker({
      lockMs,
      runSync: async () => {
        turns += 1;
        return done;
      },
      lastWords: {
        ...lastWords,
        workersDied: async (customerId, times) => {
          told.push({ customerId, times, failed: (await queue.sync.counts()).failed });
          // Postgres is away the first time.
          if (told.length === 1)
            return { kind: 'failed', runId: null, notBefore: new Date(), reason: 'away' };
          return lastWords.workersDied(customerId, times);
        },
      },
    });
    await waitFor(() => queue.sync.counts(), {
      describe: 'the job to fail',
      until: ({ failed }) => failed === 1,
    });
    expect(turns).toBe(4);
    expect(told).toEqual([1, 2].map(() => ({ customerId: 'acme', times: 4, failed: 0 })));
    expect(await queue.bull.getDeduplicationJobId(deduplicationId('acme'))).toBeNull();

    await queue.sync.enqueueSync('acme');
    await waitFor(() => turns === 5, { describe: 'the customer to be synced after all' });
  });

  it('that dies at every second turn is no reason to give the customer up: in between a turn came to its end', async () => {
    const queue = await openTestQueue(backend);
    const lockMs = 150;
    let turns = 0;
    await queue.sync.enqueueSync('acme');
    for (let death = 1; death <= 5; death += 1) {
      const runSync = async () => {
        turns += 1;
        return turns % 2 === 1 ? new Promise<never>(() => {}) : later(new Date(), 'slice');
      };
      await dieWhen(queue, { lockMs, runSync }, () => turns === 2 * death - 1);
    }
    await queue.startWorker({
      lockMs,
      runSync: async () => {
        turns += 1;
        return done;
      },
    });
    await waitFor(() => queue.sync.counts(), {
      describe: 'the job to end',
      until: ({ active, delayed, waiting }) => active + delayed + waiting === 0,
    });
    expect(await queue.sync.counts()).toMatchObject({ failed: 0 });
  });

  it('shows signs of life while it is idle with a delayed customer in the queue', async () => {
    const queue = await openTestQueue(backend);
    let alive = 0;
    await queue.startWorker({ runSync: async () => later(inAnHour()), onActivity: () => alive++ });
    await queue.sync.enqueueSync('acme');
    await waitFor(() => queue.sync.counts(), { describe: 'the wait', until: ({ delayed }) => delayed === 1 });
    const before = alive;
    await waitFor(() => alive > before + 1, { describe: 'polls of an idle worker', timeoutMs: 60_000 });
  });
});
