/** Liveness: a worker that neither polls nor works for a minute ends for its supervisor. */
import { expect, it, onTestFinished, vi } from 'vitest';
import { startWatchdog } from '../../src/queue/watchdog.ts';
import { describeOnOneQueue } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { openBreakableLink } from './breakable-link.ts';
import { done, openTestQueue } from './harness.ts';

it('silence is told after a minute of checks, once; any sign of life begins it anew', () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  let activityAt = 7;
  let told = 0;
  startWatchdog({ lastActivityAt: () => activityAt, onSilent: () => told++ });
  vi.advanceTimersByTime(59_000);
  activityAt = 3; // A clock that was set back is a sign of life too.
  vi.advanceTimersByTime(60_000);
  expect(told).toBe(0);
  vi.advanceTimersByTime(5_000);
  expect(told).toBe(1);
  vi.advanceTimersByTime(600_000);
  expect(told).toBe(1);
});

describeOnOneQueue('a worker', (backend) => {
  it('that is idle is not silent; one whose queue hangs is', async () => {
    const link = await openBreakableLink(backend.url, backend.kind === 'redis' ? 6379 : 5432);
    onTestFinished(() => link.close());
    const queue = await openTestQueue(backend, link.url);
    const worker = await queue.startWorker({ runSync: async () => done });
    let silent = false;
    const watchdog = startWatchdog({
      lastActivityAt: worker.lastActivityAt,
      onSilent: () => {
        silent = true;
      },
      checkEveryMs: 750,
    });
    onTestFinished(watchdog.stop);
    const before = worker.lastActivityAt();
    await waitFor(() => worker.lastActivityAt() > before, { describe: 'a poll of the idle worker' });
    expect(silent).toBe(false);
    link.freeze();
    await waitFor(() => silent, { describe: 'silence', timeoutMs: 40_000 });
  });
});
