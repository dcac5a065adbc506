/** How long to hold off: jittered over the whole range, capped, and never sooner than Calico asked. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffMs, waitMs } from '../../src/calico/response-codes.ts';

const least = () => 0;
const most = () => 1 - Number.EPSILON;
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const MINUTE_MS = 60_000;

test.each([
  ['short', 2_000, 10 * MINUTE_MS],
  ['long', MINUTE_MS, 60 * MINUTE_MS],
] as const)('the %s backoff doubles from its base to its cap, with full jitter', (backoff, base, cap) => {
  for (let attempt = 0; attempt < 2_000; attempt++) {
    expect(backoffMs({ backoff }, attempt, null, least)).toBe(0);
    expect(backoffMs({ backoff }, attempt, null, most)).toBe(Math.min(cap, base * 2 ** attempt));
  }
  const drawn = Array.from({ length: 11 }, (_none, tenth) =>
    backoffMs({ backoff }, 3, null, () => tenth / 10),
  );
  expect(drawn).toEqual(drawn.map((_delay, tenth) => Math.round((base * 8 * tenth) / 10)));
});

test('without a word on it the backoff is short', () => {
  expect(backoffMs({}, 0, null, most)).toBe(2_000);
});

test('Retry-After is a floor of the backoff, however it is drawn', () => {
  fc.assert(
    fc.property(fc.nat(50), fc.nat(24 * 60 * MINUTE_MS), random, (attempt, retryAfterMs, drawn) => {
      const delay = backoffMs({ backoff: 'long' }, attempt, retryAfterMs, () => drawn);
      expect(delay).toBeGreaterThanOrEqual(retryAfterMs);
      expect(delay).toBeLessThanOrEqual(retryAfterMs + MINUTE_MS);
    }),
  );
});

test('a wait is at least a second, at most ten minutes, and its ceiling grows with what was waited', () => {
  const ceilings = [0, 4_000, 10_000, MINUTE_MS, 9 * MINUTE_MS, 60 * MINUTE_MS].map((waited) =>
    waitMs(waited, null, most),
  );
  expect(ceilings).toEqual([5_000, 5_000, 10_000, MINUTE_MS, 9 * MINUTE_MS, 10 * MINUTE_MS]);
  fc.assert(
    fc.property(fc.nat(), random, (waited, drawn) => {
      const delay = waitMs(waited, null, () => drawn);
      expect(delay).toBeGreaterThanOrEqual(1_000);
      expect(delay).toBeLessThanOrEqual(10 * MINUTE_MS);
    }),
  );
});

test('Retry-After is a floor of the wait, and many who heard it do not come back at once', () => {
  expect(waitMs(0, 30_000, least)).toBe(30_000);
  expect(waitMs(60 * MINUTE_MS, 30_000, most)).toBe(35_000);
  expect(waitMs(0, 0, least)).toBe(1_000);
  expect(waitMs(0, 2_000, most)).toBe(4_000);
});
