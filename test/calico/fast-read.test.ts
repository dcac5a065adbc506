/** Records are read without zod; what comes of it must be what zod would have made of them. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { assetPosition, transaction } from '../../src/calico/contract.ts';
import { fastReader } from '../../src/calico/fast-read.ts';
import { parseExactJson } from '../../src/calico/json.ts';
import { everyRecordOf } from '../../src/sandbox/data.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { fee } from '../support/records.ts';

const STREAMS = {
  assets: { schema: assetPosition, read: fastReader(assetPosition) },
  transactions: { schema: transaction, read: fastReader(transaction) },
} as const;
type StreamName = keyof typeof STREAMS;

const data = generateData({ customers: 3, transactions: 200, seed: 11 });
const sound: Record<StreamName, string[]> = { assets: [], transactions: [] };
for (const customerId of data.customerIds())
  for (const name of ['assets', 'transactions'] as const)
    sound[name].push(...everyRecordOf(data, name, customerId));

test.each(['assets', 'transactions'] as const)(
  'every sound record of %s is read as by zod, and without it',
  (name) => {
    const { schema } = STREAMS[name];
    const safeParse = () => {
      throw new Error('zod was asked');
    };
    const read = fastReader(Object.create(schema, { safeParse: { value: safeParse } }) as typeof schema);
    for (const text of sound[name]) {
      const record = parseExactJson(text);
      expect(read(record)).toStrictEqual({ success: true, data: schema.parse(record) });
    }
  },
);

const ODD = [
  'null',
  '""',
  '" "',
  '"x"',
  'true',
  '0',
  '-1',
  '1.50',
  '"-0"',
  '"1e3"',
  '1e400',
  '"1."',
  '[]',
  '{}',
];
const MORE_ODD = [
  '[null]',
  '{"items":null}',
  '{"items":[{}]}',
  '{"amount":"1"}',
  '1700000000',
  '1700000000000',
];
const dates = ['"2024-02-30T00:00:00Z"', '"2024-02-29T23:59:59.123456+02:00"', '"0000-01-01T00:00:00Z"'];

/** Every place of a record that is there, as a path; also one that is not. */
function pathsOf(value: unknown, path: string[] = []): string[][] {
  const parts = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return [path, [...path, 'surplus'], ...parts.flatMap(([name, part]) => pathsOf(part, [...path, name]))];
}

/** The record with another value there; null: with nothing there. */
function changed(value: unknown, [name, ...rest]: string[], to: string | null): unknown {
  if (name === undefined) return to === null ? undefined : JSON.parse(to);
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>;
  if (rest.length === 0 && to === null) delete copy[name];
  else copy[name] = changed(copy[name], rest, to);
  return copy;
}

test.each(['assets', 'transactions'] as const)('any record of %s is taken or refused as by zod', (name) => {
  const { schema, read } = STREAMS[name];
  const seen = { taken: 0, refused: 0 };
  const broken = fc
    .constantFrom(...sound[name])
    .map((text) => JSON.parse(text) as { fees?: { items: unknown[] } })
    .map((record) => ({ ...record, ...(record.fees ? { fees: { items: [fee('0.1'), fee('-2')] } } : {}) }))
    .chain((record) =>
      fc.tuple(
        fc.constant(record),
        fc.constantFrom(...pathsOf(record)),
        fc.constantFrom(null, ...ODD, ...MORE_ODD, ...dates),
      ),
    );
  fc.assert(
    fc.property(broken, ([record, path, to]) => {
      const value = changed(record, path, to);
      const parsed = value === undefined ? value : parseExactJson(JSON.stringify(value));
      const [one, other] = [read(parsed), schema.safeParse(parsed)];
      seen[other.success ? 'taken' : 'refused']++;
      expect(one.success).toBe(other.success);
      expect(one.data).toStrictEqual(other.data);
      expect(one.error?.issues).toEqual(other.error?.issues);
    }),
    { numRuns: 3_000 },
  );
  expect(Math.min(seen.taken, seen.refused)).toBeGreaterThan(500);
});

test.each([
  ['a strict object', z.strictObject({ a: z.string() })],
  ['an object with a type for the rest', z.object({ a: z.string() }).catchall(z.string().min(2))],
  ['a format', z.object({ a: z.email() })],
  ['a text that is made of anything', z.object({ a: z.coerce.string() })],
  ['a text that is trimmed', z.object({ a: z.string().trim().min(1) })],
  ['a pattern', z.object({ a: z.string().regex(/^x/) })],
  ['a default', z.object({ a: z.string().default('none') })],
  ['a fallback', z.object({ a: z.string().catch('none') })],
  ['a word', z.object({ a: z.literal('x') })],
  ['a list with a limit', z.object({ a: z.array(z.string()).max(1) })],
  ['either, but not both', z.object({ a: z.xor([z.string(), z.string().max(2)]) })],
  ['a check of what is taken as it is', z.object({ a: z.unknown() }).refine(({ a }) => a !== 'x')],
  ['a check of what is not named', z.looseObject({ a: z.string() }).refine((all) => all['b'] !== 'x')],
  ['a check on a condition', z.object({ a: z.string().refine((a) => a !== 'x', { when: () => false }) })],
  ['a transform that lists what is wrong', z.object({ a: z.string().transform(onlyNotX) })],
  ['an object that is checked', z.object({ a: z.string() }).refine(({ a }) => a !== 'x')],
  ['an object that becomes another', z.object({ a: z.object({ b: z.string() }).transform(({ b }) => b) })],
])('whoever corrects the contract may use more of zod: %s', (_name, schema) => {
  const values = [
    'x',
    'xyz',
    ' x ',
    ' ',
    '',
    'me@example.com',
    1,
    null,
    ['x'],
    ['x', 'y'],
    { b: 'x' },
    { b: 1 },
    {},
  ];
  const records = [...values, undefined].flatMap((a) => [{ a }, { a, b: 'x' }, { a, b: 'xy' }]);
  for (const record of [...records, {}, { b: 'x' }, [], null, 'x']) {
    const [one, other] = [fastReader(schema)(record), schema.safeParse(record)];
    expect({ record, success: one.success, data: one.data }).toStrictEqual({
      record,
      success: other.success,
      data: other.data,
    });
  }
});

/** Says what is wrong without `addIssue`. */
function onlyNotX(a: string, { issues }: z.core.$RefinementCtx): string {
  if (a === 'x') issues.push({ code: 'custom', input: a, message: 'is x' });
  return a;
}

test.each([
  ['check', z.object({ a: z.string().refine(async () => false) })],
  ['transform', z.object({ a: z.string().transform(async (a) => a) })],
])('a %s that would have to be waited for is an error, as with zod: nothing is taken', (_name, schema) => {
  expect(() => schema.safeParse({ a: 'x' })).toThrow();
  expect(() => fastReader(schema)({ a: 'x' })).toThrow();
});
