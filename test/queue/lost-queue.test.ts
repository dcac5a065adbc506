/** Promise 8: the queue can lose everything at any time. */
import { expect, it } from 'vitest';
import { describeOnBothQueues, type TestQueueBackend } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { customersByPostgres, openTestQueue, type TestQueue, tickOf } from './harness.ts';

/** Under load: emptying all of Postgres' tables at once deadlocks with whoever writes to two of them. */
async function loseJobs(backend: TestQueueBackend, { bull }: TestQueue): Promise<void> {
  if (backend.kind === 'redis') return backend.burn();
  await waitFor(() => bull.obliterate({ force: true }).then(() => true), { describe: 'all jobs to be lost' });
}

describeOnBothQueues('a queue that lost everything', (backend) => {
  it('has everybody back after a tick, each exactly once', async () => {
    const queue = await openTestQueue(backend);
    const customers = customersByPostgres(30);
    await queue.sync.enqueueMany([...customers.due]);
    await backend.burn();
    tickOf(queue, customers.listDue);
    await waitFor(() => queue.sync.counts(), {
      describe: 'full again',
      until: ({ waiting }) => waiting === 30,
    });

    await queue.startWorker({ concurrency: 4, runSync: customers.runSync });
    await waitFor(() => customers.due.size === 0, { describe: 'all customers to be synced' });
    expect([...customers.synced].sort()).toEqual([...new Set(customers.synced)].sort());
    expect(customers.synced).toHaveLength(30);
  });

  it('may lose it again and again while workers work', async () => {
    const queue = await openTestQueue(backend);
    const customers = customersByPostgres(200);
    tickOf(queue, customers.listDue);
    await queue.startWorker({ concurrency: 4, runSync: customers.runSync });
    for (const size of [150, 100, 50]) {
      await waitFor(() => customers.due.size <= size, {
        describe: `${200 - size} customers`,
        timeoutMs: 15_000,
      });
      await loseJobs(backend, queue);
    }
    await waitFor(() => customers.due.size === 0, { describe: 'all customers', timeoutMs: 15_000 });
    expect(customers.synced).toHaveLength(200);
  });
});
