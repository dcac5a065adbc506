import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits at most `ms` for `work`, then gives what `late` gives or throws.
 * Nothing can cancel a command that hangs on a dead server; it is left behind, and its late failure is nobody's.
 */
export async function within<T>(ms: number, work: Promise<T>, late: () => T | Promise<T>): Promise<T> {
  const timer = new AbortController();
  work.catch(() => undefined);
  try {
    return await Promise.race([work, sleep(ms, undefined, { signal: timer.signal }).then(late)]);
  } finally {
    timer.abort();
  }
}
