/**
 * Is a series of samples flat? What is sampled goes up and down (a vacuum, a burst), so the median of the first quarter is
 * held against that of the last one: a leak has half of the time to show between them, a burst has none. Of the heap it
 * is the least: a collection may leave garbage behind, and what even the best one leaves is in use.
 */

/** What a last quarter may be, given the first: `share` more of it, and `slack` more besides. */
export type Bound = { share: number; slack: number };

/** One measure over time, by its median or its least value; null where a sample has none. What is left of the warm-up is not in it. */
export type Series = {
  name: string;
  unit: string;
  by: 'median' | 'least';
  bound: Bound;
  values: readonly (number | null)[];
};

/** `isFlat` null: too few samples to say. `highest` is of all quarters. */
export type Judgement = {
  name: string;
  unit: string;
  first: number;
  last: number;
  highest: number;
  most: number;
  isFlat: boolean | null;
};

/** A quarter with fewer says nothing. */
const FEWEST = 3;

/** Judges one series. Less than before is flat too: something may have been larger at first. */
export function judge({ name, unit, by, bound, values }: Series): Judgement {
  const quarter = Math.ceil(values.length / 4);
  const known = (some: typeof values) => some.filter((value) => value !== null);
  const [before, after] = [known(values.slice(0, quarter)), known(values.slice(-quarter))];
  const typical = (some: readonly number[]) =>
    by === 'median' || some.length === 0 ? median(some) : Math.min(...some);
  const [first, last] = [typical(before), typical(after)];
  const most = first * (1 + bound.share) + bound.slack;
  const isFlat = before.length < FEWEST || after.length < FEWEST ? null : last <= most;
  return { name, unit, first, last, highest: Math.max(0, ...known(values)), most, isFlat };
}

/** 0 of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length / 2;
  const [low = 0, high = low] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return (low + high) / 2;
}
