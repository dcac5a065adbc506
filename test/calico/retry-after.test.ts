/** Retry-After in both its forms, and what is neither. */
import { expect, test } from 'vitest';
import { parseRetryAfter } from '../../src/calico/client.ts';
import { failureAt, NOW_MS, serveAnswer } from './wire.ts';

const DAY_MS = 24 * 60 * 60_000;

test.each([
  ['0', 0],
  ['7', 7_000],
  ['0120', 120_000],
  [new Date(NOW_MS + 90_000).toUTCString(), 90_000],
  ['Wednesday, 01-Jan-25 00:01:30 GMT', 90_000],
  ['Wed Jan  1 00:01:30 2025', 90_000],
  [new Date(NOW_MS - 90_000).toUTCString(), 0],
])('%s', (value, expected) => expect(parseRetryAfter(value, NOW_MS)).toBe(expected));

test.each([
  '',
  ' ',
  'soon',
  '-5',
  '1.5',
  '1e3',
  '120s',
  'soon 7',
  'in 2099',
  '2099-01-01',
  'Wed, 99 Foo 2025 00:00:00 GMT',
  '٣',
])('%j is no Retry-After', (value) => expect(parseRetryAfter(value, NOW_MS)).toBeNull());

test.each([
  ['millennia', '99999999999'],
  ['more seconds than a number holds', '9'.repeat(400)],
  ['a date in 2099', 'Wed, 21 Oct 2099 07:28:00 GMT'],
])('%s are cut to a year', (_what, value) => expect(parseRetryAfter(value, NOW_MS)).toBe(365 * DAY_MS));

test('it is read from every answer that came, also where the code is the body’s', async () => {
  const url = await serveAnswer('{"code":429}', 200, { 'retry-after': '12' });
  expect(await failureAt(url)).toMatchObject({ code: 429, retryAfterMs: 12_000 });
  expect(await failureAt(await serveAnswer('{}', 503))).toMatchObject({ retryAfterMs: null });
});
