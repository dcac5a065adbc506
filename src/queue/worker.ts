/** Takes customers from the queue and syncs them, `concurrency` at a time, until it is closed. */
import { Worker } from 'bullmq';
import type { Logger } from 'pino';
import { becomeReady, type QueueConnection } from './connection.ts';
import { within } from './deadline.ts';
import { QUEUE_NAME } from './job.ts';
import { messageOf, outageLog } from './outage.ts';
import { watchPolls } from './polling.ts';
import { type LastWords, type RunSync, syncProcessor } from './processor.ts';

export interface SyncWorkerOptions {
  connection: QueueConnection;
  concurrency: number;
  runSync: RunSync;
  lastWords: LastWords;
  log: Logger;
  /** Called at every sign of life: a poll that was answered, a turn begun or ended, a lock renewed. */
  onActivity?: () => void;
  now?: () => number;
  /** How long a job is believed to run without a word from its worker; see `LOCK_MS`. */
  lockMs?: number;
}

export interface SyncWorker {
  /** False after `close`, and if BullMQ's loop ever ended by itself. */
  isRunning(): boolean;
  /** Epoch milliseconds of the last sign of life. Idle or busy, it is never older than 20 s while the queue answers. */
  lastActivityAt(): number;
  /**
   * Takes no more jobs, tells the running syncs to stop between two pages, and waits for them. Returns within `graceMs`
   * even when a sync or the queue hangs. Jobs that could not be handed back are found stalled by another worker.
   */
  close(graceMs: number): Promise<void>;
}

/**
 * A killed worker's jobs run again within `LOCK_MS` and two checks: 50 s at most. Renewed every 15 s, a lock outlives a
 * pause of the process or of the queue that is shorter than that. A job taken for stalled runs twice for a while, which
 * is harmless: the lease in Postgres lets one of the two write.
 */
const LOCK_MS = 30_000;

/**
 * In a row: each is a worker that died, unless a turn of the job comes to an end after it. After the next one the job is
 * given up: the dead letter is written, and only then does the job end (promise 4). That frees its deduplication id, and
 * the tick starts the customer afresh when Postgres says it is due.
 */
const MAX_STALLS = 3;
/** BullMQ fails a job that stalled more often without a word to anybody, so it never gets to. */
const NEVER = 2 ** 31 - 1;

/**
 * Between two tries to take a job or to end one while the queue does not answer. BullMQ's own 15 s held every place of a worker for
 * as long after a second without Postgres, and its stop for all of the grace.
 */
const RETRY_MS = 1_000;

/** Starts a worker. Throws one sentence when the queue is not reachable or not migrated. */
export async function startSyncWorker(options: SyncWorkerOptions): Promise<SyncWorker> {
  const { connection, concurrency, runSync, lastWords, log } = options;
  const { onActivity, now = Date.now, lockMs = LOCK_MS } = options;
  await connection.check();
  const stopping = new AbortController();
  const outage = outageLog(log, `worker's queue at ${connection.where}`);
  let activeAt = now();
  const alive = () => {
    activeAt = now();
    onActivity?.();
  };
  const answered = () => {
    alive();
    outage.over();
  };

  const worker = new Worker(
    QUEUE_NAME,
    syncProcessor({
      kind: connection.kind,
      runSync,
      lastWords,
      maxStalls: MAX_STALLS,
      stopping: stopping.signal,
      log,
      now,
    }),
    {
      connection: connection.where,
      autorun: false,
      concurrency,
      lockDuration: lockMs,
      // Redis refuses a fraction, and then no stalled job is ever found.
      stalledInterval: Math.ceil(lockMs / 3),
      maxStalledCount: NEVER,
      runRetryDelay: RETRY_MS,
    },
    watchPolls(connection.backend, { onPoll: answered, stopping: stopping.signal }),
  );
  worker.on('error', (error) => stopping.signal.aborted || outage.failed(error));
  worker.on('active', alive);
  worker.on('completed', alive);
  worker.on('locksRenewed', alive);
  worker.on('stalled', (jobId) => log.warn({ jobId }, 'a worker died during this job; it runs again'));
  worker.on('failed', (job, error) => {
    alive();
    // Dead letters, mostly. On Postgres also "deadlock detected": BullMQ ends a job and promotes the delayed ones in one
    // transaction, in no fixed order. The sync had ended by then and has its result in Postgres.
    log.warn({ jobId: job?.id, reason: messageOf(error) }, 'a job failed');
  });

  const end = async (graceMs: number) => {
    stopping.abort();
    await within(graceMs, worker.close(), () => {
      log.warn({ graceMs }, 'the queue or a sync did not end in time; leaving it');
      // `close()` waits for a server that is gone for ever; this only drops the sockets.
      worker.disconnect().catch(outage.failed);
    });
  };
  let ending: Promise<void> | undefined;
  const close = (graceMs: number) => {
    ending ??= end(graceMs);
    return ending;
  };
  try {
    await becomeReady(worker, connection);
  } catch (error) {
    await close(0);
    throw error;
  }
  worker
    .run()
    .catch((error: unknown) => log.error({ reason: messageOf(error) }, 'the worker ended by itself'));
  return {
    close,
    isRunning: () => worker.isRunning() && !stopping.signal.aborted,
    lastActivityAt: () => activeAt,
  };
}
