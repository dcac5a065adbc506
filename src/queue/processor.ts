/**
 * Says in BullMQ's words how a customer's turn ended. Postgres knows it already, so whatever the queue refuses here
 * (its server gone, the lock lost, the job flushed) is logged and left: the tick enqueues the customer when it is due.
 * Nothing that comes from outside this project may reach an error thrown here: BullMQ stores its message and stack.
 */
import { DelayedError, type Job, UnrecoverableError, WaitingError } from 'bullmq';
import type { Logger } from 'pino';
import type { z } from 'zod';
import type { Outcome } from '../sync/outcome.ts';
import type { QueueConnection } from './connection.ts';
import { type JobData, jobDataSchema } from './job.ts';
import { messageOf } from './outage.ts';

/** One turn of a customer's sync. It resolves with `stopped` soon after the signal; it is not expected to reject. */
export type RunSync = (customerId: string, signal: AbortSignal) => Promise<Outcome>;

/**
 * What is written down of jobs that no turn can answer for, before they end. They do not reject; `failed` says when to
 * come again.
 */
export interface LastWords {
  /** The workers of this customer's job died `times` times. */
  workersDied(customerId: string, times: number): Promise<Outcome>;
  /** The job names no customer; `shape` quotes nothing of it. */
  unreadableJob(jobId: string, shape: string): Promise<Outcome>;
}

export interface ProcessorOptions {
  kind: QueueConnection['kind'];
  runSync: RunSync;
  lastWords: LastWords;
  /** In a row, before a job is given up. */
  maxStalls: number;
  stopping: AbortSignal;
  log: Logger;
  now: () => number;
}

/** The function that BullMQ calls for each job; what it returns is the outcome's kind. */
export function syncProcessor(options: ProcessorOptions) {
  const { kind, runSync, lastWords, maxStalls, stopping, log, now } = options;
  return async (job: Job, token?: string): Promise<string> => {
    const data = jobDataSchema.safeParse(job.data);
    const customerId = data.data?.customerId ?? null;
    const outcome = await outcomeOf(job, data.data ?? null).catch((error: unknown) => {
      log.error({ customerId, ...whereFrom(error) }, 'a sync threw instead of returning an outcome');
      throw new UnrecoverableError('The sync broke off on a defect; the log says where.');
    });

    const parked = await putBack(outcome, job, token).catch((error: unknown) => {
      log.warn(
        { customerId, reason: messageOf(error) },
        'the queue did not take the job back; the tick will',
      );
    });
    if (parked) throw parked;
    if (customerId === null)
      throw new UnrecoverableError('The job names no customer: expected { customerId }.');
    if (outcome.kind === 'dead_lettered') throw new UnrecoverableError(outcome.reason);
    return outcome.kind;
  };

  async function outcomeOf(job: Job, data: z.output<typeof jobDataSchema> | null): Promise<Outcome> {
    if (data === null) return lastWords.unreadableJob(job.id ?? 'without an id', shapeOf(job.data));
    const { customerId, survivedStalls } = data;
    const deaths = job.stalledCounter - survivedStalls;
    if (deaths > maxStalls) return lastWords.workersDied(customerId, deaths);
    const outcome = await runSync(customerId, stopping);
    if (deaths > 0) await survive(job, customerId);
    return outcome;
  }

  /** A turn has come to an end: whatever the job's earlier stalls were (a queue that was gone, say), the row of deaths is broken. */
  async function survive(job: Job, customerId: string): Promise<void> {
    const data: JobData = { customerId, survivedStalls: job.stalledCounter };
    await job.updateData(data).catch((error: unknown) => {
      log.warn({ customerId, reason: messageOf(error) }, 'the queue did not hear that a worker lives');
    });
  }

  /** Moves a job that goes on to where it waits, and gives the error by which BullMQ knows that it was moved. */
  async function putBack(outcome: Outcome, job: Job, token: string | undefined): Promise<Error | undefined> {
    switch (outcome.kind) {
      case 'later':
      case 'failed':
        return outcome.notBefore.getTime() > now()
          ? delay(job, token, outcome.notBefore)
          : giveWay(job, token);
      case 'stopped':
        return giveWay(job, token);
      case 'done':
      case 'dead_lettered':
      case 'fenced':
      case 'not_run':
        return undefined;
    }
  }

  /** Neither this nor `moveToWait` spends an attempt, and the deduplication id stays taken. */
  async function delay(job: Job, token: string | undefined, until: Date): Promise<Error> {
    await job.moveToDelayed(until.getTime(), token);
    return new DelayedError();
  }

  /**
   * Due now, but behind everyone who waits already (promise 11). Each backend has one verb for this, and the other
   * backend's verb jumps the queue (BullMQ 6.7): on Redis a delayed job that falls due joins the tail and `moveToWait`
   * goes to the head; on Postgres `moveToWait` draws a new number and a delayed job that falls due keeps its old one.
   */
  async function giveWay(job: Job, token: string | undefined): Promise<Error> {
    if (kind === 'redis') return delay(job, token, new Date(now()));
    await job.moveToWait(token);
    return new WaitingError();
  }
}

/** The names and types of what a job held; whoever wrote it may have put anything there, tokens included. */
function shapeOf(data: unknown): string {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return JSON.stringify(typeof data);
  const fields = Object.entries(data).slice(0, 20);
  return JSON.stringify(Object.fromEntries(fields.map(([name, value]) => [name.slice(0, 40), typeof value])));
}

/** An unexpected error's name and stack frames. Its message may quote anything: drizzle's quotes every parameter. */
function whereFrom(error: unknown): { error: string; frames: string[] } {
  if (!(error instanceof Error)) return { error: typeof error, frames: [] };
  return {
    error: error.name,
    frames: (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line)),
  };
}
