/** `fitsNumeric` foretells what Postgres says of a number inside jsonb. */
import { expect, onTestFinished, test } from 'vitest';
import { fitsNumeric } from '../../src/calico/decimal.ts';
import { createTestDatabase } from '../support/database.ts';

const NUMBERS = [
  ...['0', '-0', '1', '-1.50', '123.456e5', '1e131071', '1e131072', '9.9e131071', '9.9e131072', '-1E+131072'],
  ...['1e-16383', '1e-16384', '1.5e-16382', '1.5e-16383', '0e400000', '0e-16383', '0e-16384', '0.0e131072'],
  ...[
    '0.001e131074',
    '0.001e131075',
    '1e400000',
    '1e-400000',
    '1e2147483647',
    '0e99999999999',
    '1e-99999999999',
  ],
  ...[16_383, 16_384].flatMap((digits) => [`0.${'1'.repeat(digits)}`, `0.${'0'.repeat(digits)}`]),
  ...['9'.repeat(131_072), '9'.repeat(131_073)],
];

test('at every limit', async () => {
  const { pool, close } = await createTestDatabase();
  onTestFinished(close);
  const fits = (text: string) =>
    pool.query('SELECT $1::jsonb', [`{"a":${text}}`]).then(
      () => true,
      () => false,
    );
  const spell = (text: string) => (text.length > 20 ? `${text.slice(0, 5)}… of ${text.length}` : text);
  const said = await Promise.all(NUMBERS.map(async (text) => [spell(text), await fits(text)]));
  expect(NUMBERS.map((text) => [spell(text), fitsNumeric(text)])).toEqual(said);
  expect(new Set(said.map(([, answer]) => answer)).size).toBe(2);
});
