/**
 * The heartbeat that makes the queue disposable: every few seconds whoever is due by Postgres is enqueued. Deduplication
 * makes that idempotent, so every worker process may run one, and a queue that lost everything is full again after one.
 */
import { setTimeout as timer } from 'node:timers/promises';
import type { Logger } from 'pino';
import { within } from './deadline.ts';
import { outageLog } from './outage.ts';

export interface TickOptions {
  everyMs: number;
  /** The customers that are due and hold no lease, longest due first. Must end by itself when Postgres hangs. */
  listDue: (limit: number) => Promise<string[]>;
  enqueueMany: (customerIds: string[]) => Promise<void>;
  log: Logger;
  /** Told after each tick that did its work how many it enqueued. */
  onTick?: (enqueued: number) => void;
  /** Customers a tick; those beyond it are due still at the next. */
  limit?: number;
  random?: () => number;
  /** Ends early, by resolving or rejecting, when the signal is aborted. */
  sleep?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

export interface Tick {
  /** Starts no other tick and waits at most `graceMs` for the current one. */
  stop(graceMs?: number): Promise<void>;
}

/** Starts ticking, at once and then every `everyMs`, give or take a quarter so that processes drift apart. */
export function startTick(options: TickOptions): Tick {
  const { everyMs, listDue, enqueueMany, log, onTick, limit = 1_000, random = Math.random } = options;
  const { sleep = (ms, signal) => timer(ms, undefined, { signal }) } = options;
  const stopping = new AbortController();
  const outage = outageLog(log, 'tick');

  const once = async () => {
    const due = await listDue(limit);
    if (due.length > 0 && !stopping.signal.aborted) await enqueueMany(due);
    outage.over();
    onTick?.(due.length);
  };
  // One loop that awaits each tick: two never overlap, and a slow one is followed by a pause, not by a backlog.
  const loop = async () => {
    while (!stopping.signal.aborted) {
      await once().catch(outage.failed);
      await sleep(everyMs * (0.75 + random() / 2), stopping.signal).catch(() => undefined);
    }
  };

  const ended = loop();
  return {
    async stop(graceMs = 2_000) {
      stopping.abort();
      await within(graceMs, ended, () =>
        log.warn({ graceMs }, 'the current tick did not end in time; leaving it'),
      );
    },
  };
}
