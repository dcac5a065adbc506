/** Liveness: what a silent worker is. That its process ends is shown by test/cli/silent-worker.test.ts. */
import { expect, it, onTestFinished, vi } from 'vitest';
import { startWatchdog } from '../../src/queue/watchdog.ts';
import { describeOnOneQueue } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
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
  it('that is idle is not silent', async () => {
    const queue = await openTestQueue(backend);
    const worker = await queue.startWorker({ runSync: async () => done });
    let silent = false;
    const watchdog = startWatchdog({
      lastActivityAt: worker.lastActivityAt,
      onSilent: () => {
        silent = true;
      },
      checkEveryMs: 500,
    });
    onTestFinished(watchdog.stop);
    const before = worker.lastActivityAt();
    await waitFor(() => worker.lastActivityAt() > before, { describe: 'a poll of the idle worker' });
    expect(silent).toBe(false);
  });
});
