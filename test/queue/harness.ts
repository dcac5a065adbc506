/** What the queue's tests share: a queue of one's own, workers that end with the test, the server's view of the jobs. */
import { Writable } from 'node:stream';
import { type IQueueBackend, type Job, Queue, type QueueOptions } from 'bullmq';
import { type Logger, pino } from 'pino';
import { onTestFinished } from 'vitest';
import { migrateQueue, openQueueConnection, type QueueConnection } from '../../src/queue/connection.ts';
import { openSyncQueue, type SyncQueue } from '../../src/queue/enqueue.ts';
import { QUEUE_NAME } from '../../src/queue/job.ts';
import type { LastWords } from '../../src/queue/processor.ts';
import { startTick } from '../../src/queue/tick.ts';
import { type SyncWorker, type SyncWorkerOptions, startSyncWorker } from '../../src/queue/worker.ts';
import type { Outcome } from '../../src/sync/outcome.ts';
import type { TestQueueBackend } from '../support/queue-backends.ts';

export interface TestQueue {
  connection: QueueConnection;
  sync: SyncQueue;
  /** BullMQ's own view, to look where the product does not. */
  bull: Queue<unknown, unknown, string, unknown, unknown, string, IQueueBackend, string>;
  logs: Logs;
  startWorker(options: Partial<SyncWorkerOptions> & Pick<SyncWorkerOptions, 'runSync'>): Promise<SyncWorker>;
}

export interface Logs {
  log: Logger;
  text(): string;
  count(part: string): number;
}

export function collectLogs(): Logs {
  const lines: string[] = [];
  const sink = new Writable({
    write: (chunk, _encoding, done) => {
      lines.push(String(chunk));
      done();
    },
  });
  return {
    log: pino({ level: 'debug' }, sink),
    text: () => lines.join(''),
    count: (part) => lines.filter((line) => line.includes(part)).length,
  };
}

/** An empty, migrated queue, gone when the test is finished. `url` is how the product reaches it, through a link say. */
export async function openTestQueue(backend: TestQueueBackend, url = backend.url): Promise<TestQueue> {
  await migrateQueue(backend.url, backend.prefix);
  await backend.burn();
  const connection = openQueueConnection(url, backend.prefix);
  const direct = openQueueConnection(backend.url, backend.prefix);
  const logs = collectLogs();
  const sync = await openSyncQueue({ connection, log: logs.log });
  onTestFinished(() => sync.close());
  const bull = new Queue(QUEUE_NAME, { connection: direct.where } as QueueOptions<string>, direct.backend);
  bull.on('error', () => {});
  onTestFinished(() => bull.close());
  return {
    connection,
    sync,
    bull,
    logs,
    async startWorker(options) {
      const worker = await startSyncWorker({
        connection,
        concurrency: 1,
        lastWords,
        log: logs.log,
        ...options,
      });
      onTestFinished(() => worker.close(2_000));
      return worker;
    },
  };
}

/** The one job there is. */
export async function onlyJob({ bull }: TestQueue): Promise<Job> {
  const jobs = await bull.getJobs(['waiting', 'active', 'delayed', 'failed', 'completed']);
  const [job] = jobs;
  if (jobs.length !== 1 || !job) throw new Error(`expected one job, there are ${jobs.length}`);
  return job;
}

export const done: Outcome = { kind: 'done', runId: 'run', status: 'succeeded' };

const givenUp: Outcome = { kind: 'dead_lettered', runId: 'run', deadLetterId: '1', reason: 'given up' };

/** A dead letter for whatever no turn can answer for. */
export const lastWords: LastWords = {
  workersDied: async () => givenUp,
  unreadableJob: async () => givenUp,
};

export function later(notBefore: Date, why: 'wait' | 'slice' = 'wait'): Outcome {
  return { kind: 'later', runId: 'run', why, notBefore, reason: 'a test' };
}

export const inAnHour = () => new Date(Date.now() + 3_600_000);

/** A sync that runs until the test lets it go. */
export function gate<T>(): { opened: Promise<T>; open(value: T): void } {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { opened: promise, open: resolve };
}

/** Customers as Postgres knows them: due until they were synced, leased while they are. */
export function customersByPostgres(count: number) {
  const due = new Set(Array.from({ length: count }, (_, index) => `customer ${index}`));
  const leased = new Set<string>();
  const synced: string[] = [];
  return {
    due,
    synced,
    listDue: async () => [...due].filter((customerId) => !leased.has(customerId)),
    async runSync(customerId: string) {
      if (!due.has(customerId) || leased.has(customerId))
        return { kind: 'not_run', reason: 'not due' } as const;
      leased.add(customerId);
      await new Promise(setImmediate);
      synced.push(customerId);
      due.delete(customerId);
      leased.delete(customerId);
      return done;
    },
  };
}

/** A tick ten times a second, until the test is finished. */
export function tickOf(queue: TestQueue, listDue: () => Promise<string[]>) {
  const tick = startTick({ everyMs: 100, listDue, queue: queue.sync, log: queue.logs.log });
  onTestFinished(() => tick.stop());
  return tick;
}
