/** Decimals of the wire as text. No amount ever is a JavaScript number (promise 5). */

/** At most this many digits in all: a uint256 has 78. */
export const MAX_DIGITS = 78;
/** At most this many of them after the point. */
export const MAX_SCALE = 30;

/** As nearly every amount is written, and as it is returned: no sign, no zeros in front, within both limits. */
const PLAIN = /^(?:0|[1-9][0-9]{0,47})(?:\.[0-9]{1,30})?$/;
const DECIMAL = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/;

/**
 * A decimal of the contract (plain or with an exponent) in plain notation, its value unchanged: "1.5e-7" becomes
 * "0.00000015", "7.40" stays "7.40". Zeros that say nothing are dropped only where they would break a limit.
 * @returns the text for `numeric`, or `{ problem }` in words.
 */
export function parseDecimal(text: string): string | { problem: string } {
  if (PLAIN.test(text)) return text;
  const match = DECIMAL.exec(text);
  if (!match) return { problem: 'is not a decimal number' };
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match;
  const digits = (whole + fraction).replace(/^0+/, '');
  if (digits === '') return plain('', whole + fraction, Math.min(fraction.length, MAX_SCALE));
  // Shift the point. A bound on the exponent comes first: "1e999999999" must not be written out.
  const shift = Number(exponent);
  const scale = fraction.length - shift;
  const spareZeros = countTrailingZeros(digits);
  const significant = digits.length - spareZeros;
  if (scale - spareZeros > MAX_SCALE) return { problem: `has more than ${MAX_SCALE} digits after the point` };
  if (significant + Math.max(0, spareZeros - scale) > MAX_DIGITS) {
    return { problem: `has more than ${MAX_DIGITS} digits` };
  }
  const padded = scale < 0 ? digits + '0'.repeat(-scale) : digits;
  const keep = Math.max(0, Math.min(scale, MAX_SCALE, scale + MAX_DIGITS - padded.length));
  return plain(sign, padded.slice(0, padded.length - (Math.max(scale, 0) - keep)), keep);
}

/** Postgres, "Numeric Types": at most 131,072 digits before the point and 16,383 after it. */
const NUMERIC_DIGITS = 131_072;
const NUMERIC_SCALE = 16_383;
/** It reads no larger exponent, be it of a zero. */
const NUMERIC_EXPONENT = 2 ** 30 - 1;

/** Can `numeric`, and so a number inside `jsonb`, hold this JSON number? Any value, not just those of the contract. */
export function fitsNumeric(source: string): boolean {
  if (source.length < 100 && !/[eE]/.test(source)) return true;
  const [, , whole = '', fraction = '', exponent = '0'] = DECIMAL.exec(source) ?? [];
  const shift = Number(exponent);
  if (Math.abs(shift) >= NUMERIC_EXPONENT || fraction.length - shift > NUMERIC_SCALE) return false;
  const digits = (whole + fraction).replace(/^0+/, '').length;
  return digits === 0 || digits - fraction.length + shift <= NUMERIC_DIGITS;
}

/** A loop: `/0+$/` looks again from each zero, which takes minutes on a megabyte of them. */
function countTrailingZeros(digits: string): number {
  let count = 0;
  while (digits[digits.length - 1 - count] === '0') count++;
  return count;
}

/** `digits` with the point set `scale` digits from the right. */
function plain(sign: string, digits: string, scale: number): string {
  const padded = digits.replace(/^0+/, '').padStart(scale + 1, '0');
  const point = padded.length - scale;
  return `${sign}${padded.slice(0, point)}${scale > 0 ? `.${padded.slice(point)}` : ''}`;
}
