/** A leg whose job comes from a queue: a whole worker (tick, BullMQ, sync) until the customer and its queue are at rest. */
import type { IQueueBackend } from 'bullmq';
import { findCustomer, listDueCustomers } from '../../../src/db/customers.ts';
import { openQueueConnection, type QueueConnection } from '../../../src/queue/connection.ts';
import { openSyncQueue } from '../../../src/queue/enqueue.ts';
import { startTick } from '../../../src/queue/tick.ts';
import { startSyncWorker } from '../../../src/queue/worker.ts';
import { settleDeadJob, settleUnreadableJob } from '../../../src/sync/dead-workers.ts';
import { runSync } from '../../../src/sync/run-sync.ts';
import { waitFor } from '../wait-for.ts';
import { type OnEffect, openSyncDeps, type SyncSpec } from './leg.ts';

/** One customer's own queue. */
export type QueueSpec = { url: string; prefix: string };

/** A dead worker's job runs again within a lock and two thirds. BullMQ's scripts want a third of it to be a whole number. */
const LOCK_MS = 900;
const TICK_MS = 100;

/** Works until the customer is synced and no job is left; told of every call to the queue where somebody listens. */
export async function workToEnd(
  spec: SyncSpec,
  { url, prefix }: QueueSpec,
  customerId: string,
  onEffect?: OnEffect,
): Promise<void> {
  const { deps, close } = openSyncDeps(spec);
  const { db, log } = deps;
  const connection = openQueueConnection(url, prefix);
  if (onEffect) Object.assign(connection, { backend: announced(connection.backend, onEffect) });
  const queue = await openSyncQueue({ connection, log });
  const worker = await startSyncWorker({
    ...{ connection, log, concurrency: 1, lockMs: LOCK_MS },
    runSync: (id, stop) => runSync(deps, id, stop),
    lastWords: {
      workersDied: (id, times) => settleDeadJob(deps, id, times),
      unreadableJob: (jobId, shape) => settleUnreadableJob(deps, jobId, shape),
    },
  });
  const listDue = async () => {
    const due = await db.run((orm) => listDueCustomers(orm, 1_000));
    return due.filter((id) => id === customerId);
  };
  const tick = startTick({ everyMs: TICK_MS, listDue, queue, log });
  const look = async () => {
    const customer = await db.run((orm) => findCustomer(orm, customerId));
    const isSynced =
      customer !== null && customer.nextSyncAt.getTime() > Date.now() && customer.leaseUntil === null;
    return { isSynced, ...(await queue.counts()) };
  };
  await waitFor(look, {
    describe: `${customerId} and its queue to be at rest`,
    until: ({ isSynced, waiting, active, delayed }) => isSynced && waiting + active + delayed === 0,
  });
  await tick.stop();
  await worker.close(2_000);
  await queue.close();
  await close();
}

/** How a job comes and goes. What a clock starts (renewing locks, looking for stalled jobs) would be counted by chance. */
const CALLS = [
  ...(['addJobs', 'moveToActive', 'moveToCompleted', 'moveToFailed', 'moveToDelayed'] as const),
  'moveJobFromActiveToWait',
] satisfies (keyof IQueueBackend)[];

function announced(open: QueueConnection['backend'], onEffect: OnEffect): QueueConnection['backend'] {
  return (name, options, role) => {
    const backend: IQueueBackend = open(name, options, role);
    for (const call of CALLS) {
      const act: (...values: unknown[]) => Promise<unknown> = Reflect.get<object, string>(backend, call).bind(
        backend,
      );
      const announcedCall = async (...values: unknown[]) => {
        await onEffect(`queue ${call}:before`);
        const result = await act(...values);
        await onEffect(`queue ${call}:after`);
        return result;
      };
      Object.assign(backend, { [call]: announcedCall });
    }
    return backend;
  };
}
