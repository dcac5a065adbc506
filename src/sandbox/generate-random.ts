/** Randomness that is a function of its seeds, and the decimals drawn from it. */

/** Draws the next whole number from 0 up to, not including, a bound of at most 2^32. */
export type Draw = (bound: number) => number;

/**
 * A stream of draws for a list of whole-number seeds (mulberry32 over mixed seeds). Two lists that differ in
 * the last seed only never begin in the same state: each step of the mixing can be undone.
 */
export function drawsFrom(...seeds: readonly number[]): Draw {
  let state = 0x9e3779b9;
  for (const seed of seeds) {
    state = Math.imul(state ^ seed, 0x85ebca6b);
    state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
    state ^= state >>> 16;
  }
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * bound);
  };
}

/** One of a list that is not empty. */
export function pick<Item>(draw: Draw, items: readonly Item[]): Item {
  const item = items[draw(items.length)];
  if (item === undefined) throw new RangeError('Nothing to pick from.');
  return item;
}

/** The two hexadecimal digits of each byte: four look-ups a word, where `toString(16)` was half of a page's time. */
const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Hexadecimal digits, 8 for each word. */
export function hex(draw: Draw, words: number): string {
  let digits = '';
  for (let word = 0; word < words; word += 1) {
    const bits = draw(0x1_0000_0000);
    digits += `${hexOfByte[bits >>> 24]}${hexOfByte[(bits >>> 16) & 255]}${hexOfByte[(bits >>> 8) & 255]}${hexOfByte[bits & 255]}`;
  }
  return digits;
}

/** A decimal as it stands in JSON, quoted or not, and the part before its point. */
export interface DrawnAmount {
  readonly json: string;
  readonly whole: number;
}

const magnitudes = [1, 10, 1_000, 100_000];

/**
 * A positive amount with up to `decimals` digits after the point: half of them JSON strings, half JSON numbers,
 * one in forty with an exponent. Built of digits; none is ever a binary float.
 */
export function drawAmount(draw: Draw, decimals: number): DrawnAmount {
  const isString = draw(2) === 0;
  const quoted = (digits: string): string => (isString ? `"${digits}"` : digits);
  if (draw(40) === 0) {
    const digits = `${1 + draw(9)}.${1 + draw(99)}`;
    return { json: quoted(`${digits}${draw(2) === 0 ? 'e-' : 'E-'}${1 + draw(decimals)}`), whole: 0 };
  }
  const whole = draw(pick(draw, magnitudes));
  const scale = whole === 0 ? 1 + draw(decimals) : draw(decimals + 1);
  if (scale === 0) return { json: quoted(String(whole)), whole };
  let fraction = '';
  while (fraction.length < scale - 1) fraction += String(draw(1_000_000)).padStart(6, '0');
  return { json: quoted(`${whole}.${fraction.slice(0, scale - 1)}${1 + draw(9)}`), whole };
}
