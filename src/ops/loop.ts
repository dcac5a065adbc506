import { setTimeout as timer } from 'node:timers/promises';

/** Hears of failures and of their end; it decides what is worth a log line. */
export type Outage = { failed(error: unknown): void; over(): void };

export type LoopOptions = {
  everyMs: number;
  /** One round. True where there is more to do at once. Must end by itself when what it asks hangs. */
  once: () => Promise<boolean>;
  outage: Outage;
  random?: () => number;
  /** Ends early, by resolving or rejecting, when the signal is aborted. */
  sleep?: (ms: number, signal: AbortSignal) => Promise<unknown>;
};

/** `stop` begins no other round and waits at most `graceMs` for the current one. */
export type Loop = { stop(graceMs: number): Promise<void> };

/** Does a thing at once and then every `everyMs`, give or take a quarter so that processes drift apart; never twice at a time. */
export function startLoop({ everyMs, once, outage, random = Math.random, sleep = pause }: LoopOptions): Loop {
  const stopping = new AbortController();
  const { signal } = stopping;
  const round = async () => {
    const hasMore = await once();
    outage.over();
    return hasMore;
  };
  const loop = async () => {
    while (!signal.aborted) {
      const failed = (error: unknown) => {
        outage.failed(error);
        return false;
      };
      if (await round().catch(failed)) continue;
      await sleep(everyMs * (0.75 + random() / 2), signal).catch(() => undefined);
    }
  };
  const ended = loop();
  return {
    async stop(graceMs) {
      stopping.abort();
      const late = new AbortController();
      await Promise.race([ended, pause(graceMs, late.signal).catch(() => undefined)]);
      late.abort();
    },
  };
}

const pause = (ms: number, signal: AbortSignal) => timer(ms, undefined, { signal });
