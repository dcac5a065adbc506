/** Decimals in plain notation: what is kept, what is refused, and that refusing costs nothing. */
import { expect, test } from 'vitest';
import { parseDecimal } from '../../src/calico/decimal.ts';

const TOO_MANY = { problem: 'has more than 78 digits' };
const TOO_FINE = { problem: 'has more than 30 digits after the point' };
const NO_DECIMAL = { problem: 'is not a decimal number' };

test.each([
  ['7.40', '7.40'],
  ['1.5e-7', '0.00000015'],
  ['12.5E+20', `125${'0'.repeat(19)}`],
  ['-0', '0'],
  ['-0.00', '0.00'],
  ['0e999999999', '0'],
  ['007', '7'],
  ['-1e2', '-100'],
  ['9'.repeat(78), '9'.repeat(78)],
  [`1e77`, `1${'0'.repeat(77)}`],
  [`0.${'0'.repeat(29)}1`, `0.${'0'.repeat(29)}1`],
  ['1e-30', `0.${'0'.repeat(29)}1`],
  [`${'9'.repeat(48)}.${'9'.repeat(30)}`, `${'9'.repeat(48)}.${'9'.repeat(30)}`],
])('%s is %s', (text, plain) => expect(parseDecimal(text)).toBe(plain));

test.each([
  ['zeros after the thirtieth decimal', `1.${'0'.repeat(40)}`, `1.${'0'.repeat(30)}`],
  ['zeros after the point of 78 digits', `${'9'.repeat(78)}.00`, '9'.repeat(78)],
  ['zeros that an exponent takes away', `1${'0'.repeat(100)}e-100`, `1.${'0'.repeat(30)}`],
  ['zeros before everything', `${'0'.repeat(100)}1.5`, '1.5'],
])('%s break no limit', (_what, text, plain) => expect(parseDecimal(text)).toBe(plain));

test.each([
  ['79 digits', '9'.repeat(79), TOO_MANY],
  ['78 digits and a decimal', `${'9'.repeat(78)}.5`, TOO_MANY],
  ['79 digits by an exponent', '1e78', TOO_MANY],
  ['31 decimals', `0.${'0'.repeat(30)}1`, TOO_FINE],
  ['31 decimals by an exponent', '1e-31', TOO_FINE],
  ['1e999999999', '1e999999999', TOO_MANY],
  ['1e-999999999', '1e-999999999', TOO_FINE],
  ['an exponent beyond every number', `1e${'9'.repeat(400)}`, TOO_MANY],
  ['an exponent below every number', `1e-${'9'.repeat(400)}`, TOO_FINE],
])('%s is refused', (_what, text, problem) => expect(parseDecimal(text)).toEqual(problem));

test.each([
  '',
  ' 1',
  '1 ',
  '+1',
  '.5',
  '5.',
  '1,5',
  '0x10',
  'NaN',
  'Infinity',
  '1e',
  '1e1.5',
  '--1',
  '١',
  '1_000',
  '1\n',
])('%j is no decimal', (text) => expect(parseDecimal(text)).toEqual(NO_DECIMAL));

test('megabytes of digits are refused, or read, in no time', () => {
  const zeros = '0'.repeat(1_000_000);
  const startedAt = performance.now();
  expect(parseDecimal(`1${zeros}1`)).toEqual(TOO_MANY);
  expect(parseDecimal(`0.${zeros}1`)).toEqual(TOO_FINE);
  expect(parseDecimal(`${zeros}.${zeros}`)).toBe(`0.${'0'.repeat(30)}`);
  expect(parseDecimal(`1${zeros}e-1000000`)).toBe(`1.${'0'.repeat(30)}`);
  expect(parseDecimal(`${'1'.repeat(1_000_000)}`)).toEqual(TOO_MANY);
  // Looked at once each: milliseconds. Looked at once per digit: minutes.
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});
