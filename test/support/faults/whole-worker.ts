/** Everything that a worker is (tick, queue, budget, syncs), with locks and ticks so short that a test need not wait. */
import { listDueCustomers } from '../../../src/db/customers.ts';
import { openBudget } from '../../../src/queue/budget.ts';
import { openQueueConnection } from '../../../src/queue/connection.ts';
import { openSyncQueue, type SyncQueue } from '../../../src/queue/enqueue.ts';
import { startTick } from '../../../src/queue/tick.ts';
import { startSyncWorker } from '../../../src/queue/worker.ts';
import { settleDeadJob, settleUnreadableJob } from '../../../src/sync/dead-workers.ts';
import { createFleet } from '../../../src/sync/fleet.ts';
import type { Outcome } from '../../../src/sync/outcome.ts';
import { runSync } from '../../../src/sync/run-sync.ts';
import type { SyncDeps } from '../../../src/sync/turn.ts';

export type WholeWorker = { queue: SyncQueue; close(): Promise<void> };

export type WholeWorkerOptions = {
  deps: SyncDeps;
  queueUrl: string;
  prefix: string;
  concurrency?: number;
  /** Told how each turn ended. */
  onOutcome?: (outcome: Outcome) => void;
};

/** As in production a lock is half a lease long, or shorter. BullMQ's scripts want a third of it to be a whole number. */
const LOCK_MS = 1_500;
const TICK_MS = 100;
const GRACE_MS = 2_000;

export async function startWholeWorker(options: WholeWorkerOptions): Promise<WholeWorker> {
  const { deps, queueUrl, prefix, concurrency = 5, onOutcome } = options;
  const { db, log, now } = deps;
  const connection = openQueueConnection(queueUrl, prefix);
  const queue = await openSyncQueue({ connection, log });
  const budget = openBudget({ connection, perSecond: 1_000, log });
  const { maxWaitMs } = deps.settings;
  const own = { ...deps, fleet: createFleet({ ...deps, limiter: budget, maxWaitMs, lookEveryMs: 0 }) };
  const worker = await startSyncWorker({
    ...{ connection, concurrency, log, now, lockMs: LOCK_MS },
    runSync: async (id, stop) => {
      const outcome = await runSync(own, id, stop);
      onOutcome?.(outcome);
      return outcome;
    },
    lastWords: {
      workersDied: (id, times) => settleDeadJob(own, id, times),
      unreadableJob: (jobId, shape) => settleUnreadableJob(own, jobId, shape),
    },
  });
  const tick = startTick({
    ...{ everyMs: TICK_MS, log, queue },
    listDue: (limit) => db.run((orm) => listDueCustomers(orm, limit)),
  });
  return {
    queue,
    close: async () => {
      await Promise.all([tick.stop(GRACE_MS), worker.close(GRACE_MS)]);
      await budget.close();
      await queue.close();
    },
  };
}
