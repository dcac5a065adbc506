/** Finds out a worker that neither polls nor works: only its supervisor can help it. */

export type WatchdogOptions = {
  /** Of the latest sign of life; only that it changes is looked at. */
  lastActivityAt: () => number;
  onSilent: () => void;
  checkEveryMs?: number;
};

/** With the default five seconds between them: a minute, three times what a healthy worker is silent at most. */
const SILENT_CHECKS = 12;

/**
 * Calls `onSilent`, once, when a minute of checks in a row has seen no sign of life. Checks are counted and not the
 * clock's time: a process that was stopped, or whose clock was set, has its minute of its own time all the same.
 */
export function startWatchdog(options: WatchdogOptions): { stop(): void } {
  const { lastActivityAt, onSilent, checkEveryMs = 5_000 } = options;
  let seen = lastActivityAt();
  let silent = 0;
  const timer = setInterval(() => {
    const latest = lastActivityAt();
    silent = latest === seen ? silent + 1 : 0;
    seen = latest;
    if (silent < SILENT_CHECKS) return;
    clearInterval(timer);
    onSilent();
  }, checkEveryMs);
  return { stop: () => clearInterval(timer) };
}
