/** Composition root: opens what the configuration names and closes it last in, first out. */
import type { Logger } from 'pino';
import { startEvents } from './app/events.ts';
import { createCalicoClient } from './calico/client.ts';
import type { Limiter } from './calico/limiter.ts';
import type { Config } from './config.ts';
import { type Database, type DatabaseOptions, openDatabase } from './db/client.ts';
import { isAnyoneDue, listDueCustomers } from './db/customers.ts';
import { countPendingMigrations } from './db/migrate.ts';
import { openBudget } from './queue/budget.ts';
import { openQueueConnection } from './queue/connection.ts';
import { openSyncQueue, type SyncQueue } from './queue/enqueue.ts';
import { startTick } from './queue/tick.ts';
import { startWatchdog, type WatchdogOptions } from './queue/watchdog.ts';
import { type SyncWorkerOptions, startSyncWorker } from './queue/worker.ts';
import type { TokenSource } from './sync/access-token.ts';
import { beginAhead } from './sync/ahead.ts';
import { settleDeadJob, settleUnreadableJob } from './sync/dead-workers.ts';
import { createFleet } from './sync/fleet.ts';
import { runSync } from './sync/run-sync.ts';
import { tellUnheard } from './sync/settle.ts';
import type { SyncDeps } from './sync/turn.ts';

/** The database lacks migrations that this version needs. */
export class NotMigratedError extends Error {
  constructor(pending: number) {
    super(
      `The database is ${pending} migration${pending === 1 ? '' : 's'} behind. Run \`calico-sync migrate\`.`,
    );
    this.name = 'NotMigratedError';
  }
}

/** What was opened, in order; `closeAll` closes it in reverse, each even where one before it failed. */
export function createCloser() {
  const closers: (() => Promise<void>)[] = [];
  return {
    add: (close: () => Promise<void>) => void closers.push(close),
    async closeAll(): Promise<void> {
      for (let close = closers.pop(); close; close = closers.pop()) await close().catch(() => {});
    },
  };
}

/** Opens the database for a command. @throws NotMigratedError, DatabaseError where it cannot be reached. */
export async function openMigratedDatabase(
  { database }: Config<'database'>,
  log: Logger,
  limits: Partial<Pick<DatabaseOptions, 'maxConnections' | 'idleInTransactionMs'>> = {},
): Promise<Database> {
  const db = openDatabase({
    url: database.DATABASE_URL,
    maxConnections: 2,
    ...limits,
    onIdleError: (err) => log.warn({ err }, 'an idle Postgres connection broke; another replaces it'),
  });
  try {
    const pending = await db.run(countPendingMigrations);
    if (pending > 0) throw new NotMigratedError(pending);
    return db;
  } catch (error) {
    await db.close();
    throw error;
  }
}

/** Opens the queue for adding jobs. */
export function openQueue({ queue }: Config<'queue'>, log: Logger): Promise<SyncQueue> {
  return openSyncQueue({ connection: openQueueConnection(queue.QUEUE_URL, queue.QUEUE_PREFIX), log });
}

export type WorkerConfig = Config<
  'database' | 'queue' | 'credentials' | 'calico' | 'sync' | 'worker' | 'events'
>;
export type RunningWorker = {
  /** Resolves if it neither polls nor works for a minute: it is unhealthy, and its process should end. */
  silent: Promise<void>;
  close(): Promise<void>;
};

/** Beside the two of a sync whose pages follow each other: for token refreshes, the tick and the leases. */
const SPARE_CONNECTIONS = 5;
/** Renewed every 20 s; a dead worker's customer is free again after it. */
const LEASE_MS = 60_000;
const TICK_MS = 5_000;
/** SIGTERM ends within 10 s (promise 12): the worker has most of it, its connections the rest. */
const STOP_GRACE_MS = 6_000;
const CLOSE_GRACE_MS = 1_000;

/** How fast a worker's clocks run. Nobody sets it: the defaults belong together, and tests have less time. */
export type WorkerPace = Pick<SyncWorkerOptions, 'lockMs'> &
  Pick<WatchdogOptions, 'checkEveryMs'> & { leaseMs?: number; tickMs?: number };

/** Opens everything and works until `close`. @throws one sentence and the next step where anything is not there. */
export async function startWorker(
  config: WorkerConfig,
  log: Logger,
  pace: WorkerPace = {},
): Promise<RunningWorker> {
  const { leaseMs = LEASE_MS, tickMs = TICK_MS } = pace;
  const closer = createCloser();
  try {
    const concurrency = config.worker.WORKER_CONCURRENCY;
    const db = await openMigratedDatabase(config, log, {
      maxConnections: 2 * concurrency + SPARE_CONNECTIONS,
      idleInTransactionMs: leaseMs,
    });
    closer.add(() => atMost(CLOSE_GRACE_MS, db.close()));
    const connection = openQueueConnection(config.queue.QUEUE_URL, config.queue.QUEUE_PREFIX);
    const queue = await openSyncQueue({ connection, log });
    closer.add(() => queue.close(CLOSE_GRACE_MS));
    const budget = openBudget({ connection, perSecond: config.calico.CALICO_RATE_LIMIT, log });
    const deps = syncDeps(config, leaseMs, db, budget, log);
    closer.add(async () => {
      await Promise.all([budget.close(), tellUnheard(deps, null)].map((end) => atMost(CLOSE_GRACE_MS, end)));
    });
    const worker = await startSyncWorker({
      ...pace,
      connection,
      concurrency,
      runSync: (customerId, stop) => runSync(deps, customerId, stop),
      lastWords: {
        workersDied: (customerId, times) => settleDeadJob(deps, customerId, times),
        unreadableJob: (jobId, shape) => settleUnreadableJob(deps, jobId, shape),
      },
      log,
    });
    const tick = startTick({
      everyMs: tickMs,
      listDue: (limit) => db.run((orm) => listDueCustomers(orm, limit)),
      queue,
      log,
    });
    const events = startEvents(config, db, log);
    const { promise: silent, resolve: onSilent } = Promise.withResolvers<void>();
    const watchdog = startWatchdog({ ...pace, lastActivityAt: worker.lastActivityAt, onSilent });
    closer.add(async () => {
      watchdog.stop();
      const syncing = [tick.stop(STOP_GRACE_MS), worker.close(STOP_GRACE_MS)];
      await Promise.all([...syncing, events.stop(STOP_GRACE_MS)]);
    });
    log.info({ concurrency, queue: connection.where }, 'worker started');
    return { silent, close: closer.closeAll };
  } catch (error) {
    await closer.closeAll();
    throw error;
  }
}

/** Calico in a customer's name, with its tokens where they are stored. */
export function openCalico(
  { calico, credentials }: Config<'calico' | 'credentials'>,
  db: Database,
): TokenSource {
  const client = createCalicoClient({
    apiUrl: calico.CALICO_API_URL,
    authUrl: calico.CALICO_AUTH_URL,
    timeoutMs: calico.CALICO_TIMEOUT_MS,
    maxBodyBytes: calico.CALICO_MAX_BODY_BYTES,
    now: Date.now,
  });
  const oauth = { clientId: calico.CALICO_CLIENT_ID, clientSecret: calico.CALICO_CLIENT_SECRET };
  return { db, client, oauth, keys: credentials.CREDENTIALS_KEYS, now: Date.now };
}

function syncDeps(
  config: WorkerConfig,
  leaseMs: number,
  db: Database,
  limiter: Limiter,
  log: Logger,
): SyncDeps {
  const { sync } = config;
  const surroundings = { log, now: Date.now, random: Math.random };
  return {
    ...openCalico(config, db),
    begin: beginAhead,
    isAnyoneWaiting: () => db.run(isAnyoneDue),
    unheard: new Set(),
    settings: {
      pageLimit: sync.CALICO_PAGE_LIMIT,
      slicePages: sync.SLICE_PAGES,
      leaseMs,
      syncIntervalMs: sync.SYNC_INTERVAL,
      fullSyncIntervalMs: sync.FULL_SYNC_INTERVAL,
      overlapMs: sync.SYNC_OVERLAP,
      refreshSettleMs: sync.CALICO_REFRESH_SETTLE_MS,
      maxWaitMs: sync.CALICO_MAX_WAIT,
      keepRaw: sync.KEEP_RAW,
    },
    fleet: createFleet({ ...surroundings, db, limiter, maxWaitMs: sync.CALICO_MAX_WAIT }),
    ...surroundings,
  };
}

/** A server that does not answer must not keep the process: its connections end with it. */
async function atMost(ms: number, work: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, promise]).finally(() => clearTimeout(timer));
}
