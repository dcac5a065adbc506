/**
 * Promises 8 and 12: a Postgres that is shut down ends connections that nobody has heard of yet. An error that nobody
 * listens to would end the process, which vitest reports as a failure of the run.
 */
import { Queue } from 'bullmq';
import { expect, it, onTestFinished } from 'vitest';
import { openBudget } from '../../src/queue/budget.ts';
import { openQueueConnection } from '../../src/queue/connection.ts';
import { openSyncQueue } from '../../src/queue/enqueue.ts';
import { QUEUE_NAME } from '../../src/queue/job.ts';
import { openEarlyEndingLink } from '../support/early-end.ts';
import { describeOnPostgres } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { collectLogs, done, openTestQueue } from './harness.ts';

describeOnPostgres('a queue whose connections end as they are made', (backend) => {
  const openLink = async () => {
    const link = await openEarlyEndingLink(backend.url);
    onTestFinished(() => link.close());
    return link;
  };

  it('ends no worker: it goes on when they last', async () => {
    const link = await openLink();
    const queue = await openTestQueue(backend, link.url);
    const synced: string[] = [];
    let polls = 0;
    await queue.startWorker({
      onActivity: () => polls++,
      runSync: async (customerId) => {
        synced.push(customerId);
        return done;
      },
    });

    await waitFor(() => polls > 0, { describe: 'an empty queue, so that it listens' });
    link.endEarly(true);
    link.cut();
    link.heal();
    // The pool's, which take jobs, and the one that listens.
    await waitFor(() => link.ended() > 5, { describe: 'new connections that end' });
    link.endEarly(false);

    await waitFor(() => queue.sync.enqueueSync('acme').then(() => true), {
      describe: 'the queue to be back',
    });
    await waitFor(() => synced.length > 0, { describe: 'a turn' });
  });

  it('is one that cannot be reached, and a budget that each process counts alone', async () => {
    const link = await openLink();
    await openTestQueue(backend);
    const connection = openQueueConnection(link.url, backend.prefix);
    const { log } = collectLogs();
    link.endEarly(true);

    await expect(openSyncQueue({ connection, log })).rejects.toThrow('cannot be reached');
    const queue = new Queue(QUEUE_NAME, { connection: connection.where }, connection.backend);
    queue.on('error', () => {});
    onTestFinished(() => queue.close());
    await expect(queue.waitUntilReady(), 'after that check').rejects.toThrow();
    const ended = link.ended();
    const budget = openBudget({ connection, perSecond: 1_000, log });
    onTestFinished(() => budget.close());
    await waitFor(() => link.ended() > ended, { describe: 'the connection that is made ahead' });
    await budget.acquire(new AbortController().signal);
  });
});
