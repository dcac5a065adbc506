import { expect, it } from 'vitest';
import { deduplicationId } from '../../src/queue/job.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { done, gate, inAnHour, later, onlyJob, openTestQueue } from './harness.ts';

describeOnBothQueues('enqueueing a customer', (backend) => {
  it('adds a job that names the customer and holds nothing else', async () => {
    const queue = await openTestQueue(backend);
    await queue.sync.enqueueSync('acme');
    const job = await onlyJob(queue);
    expect(job.data).toEqual({ customerId: 'acme' });
    expect(job.opts.attempts).toBe(1);
  });

  it('adds no second job while one waits', async () => {
    const { sync } = await openTestQueue(backend);
    await sync.enqueueSync('acme');
    await sync.enqueueMany(['acme', 'acme', 'other']);
    expect(await sync.counts()).toEqual({ waiting: 2, active: 0, delayed: 0, failed: 0 });
  });

  it('adds no second job when many processes ask at once', async () => {
    const { sync } = await openTestQueue(backend);
    const customers = Array.from({ length: 40 }, (_, index) => `customer ${index}`);
    await Promise.all([1, 2, 3, 4].map(() => sync.enqueueMany(customers)));
    expect(await sync.counts()).toMatchObject({ waiting: 40 });
  });

  it('adds no second job while one runs, and a new one after it ended', async () => {
    const queue = await openTestQueue(backend);
    const turn = gate<typeof done>();
    await queue.startWorker({ runSync: () => turn.opened });
    await queue.sync.enqueueSync('acme');
    await waitFor(() => queue.sync.counts(), {
      describe: 'the sync to run',
      until: (counts) => counts.active === 1,
    });
    await queue.sync.enqueueSync('acme');
    expect(await queue.sync.counts()).toEqual({ waiting: 0, active: 1, delayed: 0, failed: 0 });

    turn.open(done);
    await waitFor(() => queue.sync.counts(), {
      describe: 'the sync to end',
      until: (counts) => counts.active === 0,
    });
    expect(await queue.bull.getDeduplicationJobId(deduplicationId('acme'))).toBeNull();
  });

  it('makes a delayed job due now, and does not add another', async () => {
    const queue = await openTestQueue(backend);
    let turns = 0;
    await queue.startWorker({ runSync: async () => (++turns === 1 ? later(inAnHour()) : done) });
    await queue.sync.enqueueSync('acme');
    await waitFor(() => queue.sync.counts(), {
      describe: 'the job to wait',
      until: (counts) => counts.delayed === 1,
    });

    await queue.sync.enqueueSync('acme');
    await waitFor(() => turns === 2, { describe: 'the delayed customer to be synced' });
    await waitFor(() => queue.sync.counts(), {
      describe: 'an empty queue',
      until: ({ waiting, active, delayed }) => waiting + active + delayed === 0,
    });
    expect(turns).toBe(2);
  });

  it.each(['a:b:c', '../x y', ' ', '🐳'.repeat(60), "'; drop table job", '{"customerId":1}'])(
    'takes any text for an id: %s',
    async (customerId) => {
      const queue = await openTestQueue(backend);
      const synced: string[] = [];
      await queue.sync.enqueueMany([customerId, customerId]);
      expect(await queue.sync.counts()).toMatchObject({ waiting: 1 });
      await queue.startWorker({
        runSync: async (id) => {
          synced.push(id);
          return done;
        },
      });
      await waitFor(() => synced.length > 0, { describe: 'the sync' });
      expect(synced).toEqual([customerId]);
    },
  );

  it('takes more customers than fit in one round trip', async () => {
    const { sync } = await openTestQueue(backend);
    const customers = Array.from({ length: 1_201 }, (_, index) => `customer ${index}`);
    await sync.enqueueMany(customers);
    await sync.enqueueMany(customers);
    expect(await sync.counts()).toMatchObject({ waiting: 1_201 });
  });

  it('adds the customer again when the queue has lost its jobs', async () => {
    const { sync } = await openTestQueue(backend);
    await sync.enqueueSync('acme');
    await backend.burn();
    await sync.enqueueSync('acme');
    expect(await sync.counts()).toMatchObject({ waiting: 1 });
  });

  it('adds the customer again after an operator emptied the queue', async () => {
    const { sync, bull } = await openTestQueue(backend);
    await sync.enqueueSync('acme');
    await bull.obliterate({ force: true });
    await sync.enqueueSync('acme');
    expect(await sync.counts()).toMatchObject({ waiting: 1 });
  });
});
