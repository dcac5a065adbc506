/** The budget of requests of all processes: a `Limiter` (calico/limiter.ts) over the queue's own Redis or Postgres. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { type BudgetStore, type BudgetWindow, MOST_AT_ONCE } from './budget-store.ts';
import type { QueueConnection } from './connection.ts';
import { outageLog } from './outage.ts';

export type Budget = {
  /** Resolves when a request may be sent, first come first served; rejects with the signal's reason at once. */
  acquire(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
};

const KEY = 'budget';

/**
 * What a process allows itself while the store does not answer: as much as four of them together may. More of them ask
 * too much then, and Calico's 429 stops them all.
 */
const SHARE_WITHOUT_STORE = 1 / 4;
/**
 * Until a store that did not answer is asked again. It may take a second to fail, and all requests of the process stand in
 * line behind that one: asked each time, it left one request a second.
 */
const ASK_STORE_AGAIN_MS = 5_000;

/**
 * Opens the budget of `perSecond` requests; connects at the first use.
 * One asks the store and the others stand in line: many that ask at once would be a load, and luck would decide. Only while
 * nobody is told to wait more of them ask together: each answer takes a turn of the event loop, 10 ms in a busy worker, so that
 * one after the other they were 90 requests a second, and four at a time waited 23 ms each.
 */
export function openBudget(options: {
  connection: Pick<QueueConnection, 'where' | 'openBudgetStore'>;
  perSecond: number;
  log: Logger;
}): Budget {
  const { connection, perSecond, log } = options;
  const store = connection.openBudgetStore(windowFor(perSecond));
  const alone = windowFor(perSecond * SHARE_WITHOUT_STORE);
  const withoutStore = new RateLimiterMemory({ points: 1, duration: alone.everyUs / 1_000_000 });
  const outage = outageLog(log, `the budget of requests at ${connection.where}`);
  let askStoreFromMs = 0;
  let [asking, mayAsk] = [0, 1];
  const line: (() => void)[] = [];

  /** Milliseconds until it is worth asking again; 0: the request may be sent. */
  async function ask(): Promise<number> {
    if (performance.now() < askStoreFromMs) return askOf(withoutStore);
    try {
      const waitMs = await askOf(store.limiter);
      outage.over();
      return waitMs;
    } catch (error) {
      outage.failed(error);
      askStoreFromMs = performance.now() + ASK_STORE_AGAIN_MS;
      return askOf(withoutStore);
    }
  }

  /** First come, first served: whoever is next asks as soon as one more may. */
  function nextInLine(): void {
    while (asking < mayAsk && line.length > 0) {
      asking++;
      line.shift()?.();
    }
  }

  async function take(signal: AbortSignal): Promise<void> {
    const { promise: isNext, resolve } = Promise.withResolvers<void>();
    line.push(resolve);
    nextInLine();
    await isNext;
    try {
      for (let isFirst = true; ; isFirst = false) {
        signal.throwIfAborted();
        const waitMs = await ask();
        if (waitMs > 0) mayAsk = 1;
        else if (isFirst) mayAsk = Math.min(mayAsk + 1, MOST_AT_ONCE);
        if (waitMs === 0) return;
        await sleep(waitMs, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
    } finally {
      asking--;
      nextInLine();
    }
  }

  return { acquire: (signal) => unlessAborted(take(signal), signal), close: store.close };
}

/** What is made good of a process that came late for its window; mostly it is 1 to 10 ms. */
const MAKE_UP_MS = 10;
/** On the way requests draw nearer to each other: after a second by this much, where machines are busy. */
const TRANSIT_MS = 40;

/**
 * The windows for `perSecond` requests a second: so much longer than their share of a second that in none, wherever it
 * begins, more arrive. 20 a second: one in 52.5 ms, 95 % of what is allowed. (A window of a whole second would let
 * 40 through around its edge.)
 */
export function windowFor(perSecond: number): BudgetWindow {
  const everyUs = Math.ceil(((1_000 + MAKE_UP_MS + TRANSIT_MS) * 1_000) / perSecond);
  return { everyUs, makeUpUs: MAKE_UP_MS * 1_000 };
}

async function askOf(limiter: BudgetStore['limiter']): Promise<number> {
  try {
    await limiter.consume(KEY);
    return 0;
  } catch (refused) {
    if (refused instanceof RateLimiterRes) return Math.max(1, refused.msBeforeNext);
    throw refused;
  }
}

async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  work.catch(() => undefined); // it fails as well, when its turn comes and nobody waits for it any more
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
