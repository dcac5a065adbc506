/** What the soak calls flat, on series that are made up. */
import { describe, expect, test } from 'vitest';
import { judge, median } from './judge.ts';

const HOUR = 300; // samples after the warm-up
const series = (at: (sample: number) => number | null, bound = { share: 0.1, slack: 0 }) =>
  judge({
    by: 'median',
    name: 'memory',
    unit: 'MB',
    bound,
    values: Array.from({ length: HOUR }, (_, sample) => at(sample)),
  });
const sawtooth = (sample: number) => 80 + (sample % 20);

test.each([
  ['what does not move', () => 100],
  ['what goes up and down', sawtooth],
  ['what falls', (sample: number) => 100 - sample / 10],
  ['one burst', (sample: number) => (sample > 280 ? 1_000 : 100)],
])('flat: %s', (_what, at) => {
  expect(series(at).isFlat).toBe(true);
});

test.each([
  ['a leak', (sample: number) => 100 + sample / 10],
  ['a leak below a sawtooth', (sample: number) => sawtooth(sample) + sample / 10],
  ['a step that stays', (sample: number) => (sample > 200 ? 120 : 100)],
])('not flat: %s', (_what, at) => {
  expect(series(at).isFlat).toBe(false);
});

test('a small count may be a little more, and no further', () => {
  const bound = { share: 0, slack: 3 };
  expect(series((sample) => (sample > 200 ? 23 : 20), bound).isFlat).toBe(true);
  expect(series((sample) => (sample > 200 ? 24 : 20), bound)).toMatchObject({
    ...{ first: 20, last: 24, highest: 24, most: 23, isFlat: false },
  });
});

test('nothing is said of a quarter that has fewer than three samples', () => {
  expect(series((sample) => (sample < 100 || sample === 290 ? 100 : null)).isFlat).toBe(null);
  expect(
    judge({ name: 'n', unit: '', by: 'median', bound: { share: 0, slack: 0 }, values: [1, 2, 3] }).isFlat,
  ).toBe(null);
});

test('garbage that some collections leave behind hides no leak from the least value', () => {
  const garbage = (sample: number) => (sample < 100 ? 10 * (sample % 2) : 0);
  const values = Array.from({ length: HOUR }, (_, sample) => 40 + sample / 40 + garbage(sample));
  const heap = { name: 'heap', unit: 'MB', bound: { share: 0.1, slack: 0 }, values };
  expect(judge({ ...heap, by: 'least' })).toMatchObject({ first: 40, isFlat: false });
});

describe('median', () => {
  test.each([
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[7], 7],
    [[], 0],
  ])('of %j is %d', (values, expected) => {
    expect(median(values)).toBe(expected);
  });
});
