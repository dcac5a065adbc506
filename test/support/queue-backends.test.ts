import { Queue } from 'bullmq';
import { expect, it } from 'vitest';
import { becomeReady, migrateQueue, openQueueConnection } from '../../src/queue/connection.ts';
import { describeOnBothQueues, type TestQueueBackend } from './queue-backends.ts';

describeOnBothQueues('burning a queue', (backend) => {
  it('loses its jobs and nobody else’s, and the queue works on', async () => {
    const neighbour = { ...backend, prefix: `neighbour_${backend.prefix}` };
    await using burnt = await openQueue(backend);
    await using kept = await openQueue(neighbour);
    await burnt.queue.add('one', {});
    await kept.queue.add('one', {});

    await backend.burn();
    expect(await burnt.queue.getWaitingCount()).toBe(0);
    expect(await kept.queue.getWaitingCount()).toBe(1);

    await burnt.queue.add('two', {});
    expect(await burnt.queue.getWaitingCount()).toBe(1);
    await kept.queue.obliterate();
  });
});

async function openQueue({ url, prefix }: TestQueueBackend) {
  await migrateQueue(url, prefix);
  const connection = openQueueConnection(url, prefix);
  const queue = new Queue('burning', { connection: connection.where }, connection.backend);
  await becomeReady(queue, connection);
  return { queue, [Symbol.asyncDispose]: () => queue.close() };
}
