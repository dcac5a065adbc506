/** Promise 5 on random numbers: from an answer's text to `numeric` and `jsonb` and back, equal by value. */
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { assetPosition, assetsAnswer } from '../../src/calico/contract.ts';
import { canonicalJson, parseExactJson } from '../../src/calico/json.ts';
import { createTestDatabase } from '../support/database.ts';

const COUNT = 10_000;
const BATCH = 2_500;

/** `digits` · 10^-`scale`. */
type Value = { digits: bigint; scale: number };

/** A number within the limits, and one of the many ways to write it. */
const written = fc
  .record({
    digits: fc
      .tuple(fc.integer({ min: 1, max: 78 }), fc.bigInt({ min: 0n, max: 10n ** 78n - 1n }))
      .map(([length, random]) => random % 10n ** BigInt(length)),
    scaleShare: fc.double({ min: 0, max: 1, noNaN: true }),
    point: fc.nat(90),
    trailing: fc.nat(4),
    leading: fc.nat(3),
    negative: fc.boolean(),
    asString: fc.boolean(),
    exponent: fc.constantFrom('e', 'E', 'e+', 'E+'),
    plain: fc.boolean(),
  })
  .map((how) => {
    const room = 78 - String(how.digits).length;
    const scale = Math.round(how.scaleShare * (room + 30)) - room;
    const value: Value = { digits: how.negative ? -how.digits : how.digits, scale };
    const point = (how.plain ? Math.max(0, scale) : how.point) + how.trailing;
    const digits = `${how.digits}${'0'.repeat(how.trailing)}`.padStart(point + 1, '0');
    const whole = digits.slice(0, digits.length - point);
    const fraction = point > 0 ? `.${digits.slice(-point)}` : '';
    // JSON numbers have no leading zeros.
    const zeros = how.asString ? '0'.repeat(how.leading) : '';
    const shift = point - how.trailing - scale;
    const exponent = shift === 0 ? '' : `${shift < 0 ? how.exponent.charAt(0) : how.exponent}${shift}`;
    const text = `${how.negative ? '-' : ''}${zeros}${whole}${fraction}${exponent}`;
    return { value, source: how.asString ? `"${text}"` : text };
  });

function readValue(text: string): Value {
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  return { digits: BigInt(`${whole}${fraction}`), scale: fraction.length - Number(exponent) };
}

function isEqual(a: Value, b: Value): boolean {
  const scale = Math.max(a.scale, b.scale);
  const scaled = (value: Value) => value.digits * 10n ** BigInt(scale - value.scale);
  return scaled(a) === scaled(b);
}

test('10,000 random decimals are in Postgres what Calico sent, as amounts and in raw', async () => {
  const seed = Date.now();
  const numbers = fc.sample(written, { numRuns: COUNT, seed });
  const records = numbers.map(
    ({ source }, index) => `{"provider_id":"p","asset_symbol":"${index}","quantity":${source}}`,
  );
  const body = parseExactJson(`{"data":{"assets":[${records.join(',')}]}}`);
  const read = assetsAnswer.parse(body).records;
  const quantities = read.map((record) => assetPosition.parse(record).quantity);
  expect(
    quantities.every((quantity) => /^-?\d{1,78}(\.\d{1,30})?$/.test(quantity)),
    `seed ${seed}`,
  ).toBe(true);

  const database = await createTestDatabase();
  onTestFinished(() => database.close());
  const { pool } = database;
  await pool.query('CREATE TABLE numbers (ord int, quantity numeric, raw jsonb)');
  for (let from = 0; from < COUNT; from += BATCH) {
    await pool.query('INSERT INTO numbers SELECT * FROM unnest($1::int[], $2::numeric[], $3::jsonb[])', [
      quantities.slice(from, from + BATCH).map((_quantity, index) => from + index),
      quantities.slice(from, from + BATCH),
      read.slice(from, from + BATCH).map((record) => canonicalJson(record)),
    ]);
  }
  const { rows } = await pool.query<{ quantity: string; raw: string; type: string }>(
    `SELECT quantity::text, raw->>'quantity' AS raw, jsonb_typeof(raw->'quantity') AS type FROM numbers ORDER BY ord`,
  );

  const wrong = numbers.filter(({ value, source }, index) => {
    const row = rows[index];
    const type = source.startsWith('"') ? 'string' : 'number';
    return (
      !row || row.type !== type || ![row.quantity, row.raw].every((text) => isEqual(readValue(text), value))
    );
  });
  expect(wrong.slice(0, 5), `seed ${seed}`).toEqual([]);
});

test('raw keeps numbers that no amount may be: longer, finer, larger than a double', async () => {
  const sources = [
    '9'.repeat(200),
    `0.${'1234567890'.repeat(10)}`,
    '1e400',
    '-1e-400',
    '0.1',
    '9007199254740993',
    '-0.0',
  ];
  const record = parseExactJson(`{"n":[${sources.join(',')}]}`);
  const database = await createTestDatabase();
  onTestFinished(() => database.close());
  const { rows } = await database.pool.query<{ n: string }>(
    "SELECT n FROM jsonb_array_elements_text($1::jsonb->'n') AS n",
    [canonicalJson(record)],
  );
  expect(rows.map(({ n }, index) => isEqual(readValue(n), readValue(sources[index] ?? '')))).toEqual(
    sources.map(() => true),
  );
});
