/** JSON without loss: every string becomes storable and comes back, every number keeps its digits. */
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import {
  canonicalJson,
  escapeUnstorable,
  parseExactJson,
  unescapeUnstorable,
} from '../../src/calico/json.ts';
import { createTestDatabase } from '../support/database.ts';

/** Strings made of what is hard: NULs, lone and paired surrogates, backslashes, and what looks like their escapes. */
const nasty = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '\0',
        '\\',
        '\\\\',
        'u0000',
        '\\u0000',
        '\ud83d',
        '\ude00',
        '😀',
        'ud83d',
        '\\udfff',
        'u',
        'uD800',
      ),
      fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''));

const isStorable = (text: string) => text.isWellFormed() && !text.includes('\0');

/** The JSON text of a string in which some characters are escapes, as a server may choose. */
const jsonOf = (text: string, escapes: (index: number) => boolean) =>
  `"${text
    .split('')
    .map((unit, index) => {
      const mustEscape =
        unit < ' ' || unit === '"' || unit === '\\' || (unit >= '\ud800' && unit <= '\udfff');
      if (!mustEscape && !escapes(index)) return unit;
      return unit === '\\' && !escapes(index)
        ? '\\\\'
        : `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
    })
    .join('')}"`;

test('every string is storable once escaped, and comes back', () => {
  fc.assert(
    fc.property(nasty, (text) => {
      const escaped = escapeUnstorable(text);
      expect(isStorable(escaped)).toBe(true);
      expect(unescapeUnstorable(escaped)).toBe(text);
    }),
    { numRuns: 5_000 },
  );
});

test('ordinary text is left as it is, backslashes and emojis too', () => {
  for (const text of ['', 'plain', '😀', 'C:\\users\\u1234', 'a\\\\b', 'u0000', '\\uD800', 'd83d', '\\u000'])
    expect(escapeUnstorable(text)).toBe(text);
});

test('a parsed string is the escape of what was sent, however the server wrote it', () => {
  fc.assert(
    fc.property(nasty, fc.array(fc.boolean(), { minLength: 1 }), (text, choices) => {
      const json = jsonOf(text, (index) => choices[index % choices.length] ?? false);
      expect(parseExactJson(json)).toBe(escapeUnstorable(text));
      expect(parseExactJson(`{${json}:[]}`)).toEqual({ [escapeUnstorable(text)]: [] });
    }),
    { numRuns: 3_000 },
  );
});

test('a NUL and the text that looks like its escape stay two, also where the backslash is written as an escape', () => {
  const [nul, lookAlike, other] = ['"\\u0000"', '"\\\\u0000"', '"\\u005cu0000"'].map(parseExactJson);
  expect(nul).not.toBe(lookAlike);
  expect(other).toBe(lookAlike);
});

test('what a string becomes does not depend on what else is in the answer', () => {
  const alone = parseExactJson('["\\u005cud83d"]');
  const besideNul = parseExactJson('["\\u005cud83d","\\u0000"]');
  expect(besideNul).toEqual([...(alone as unknown[]), '\\u0000']);
});

test('Postgres takes escaped strings as text and as keys and values of jsonb', async () => {
  const texts = fc.sample(nasty, 500);
  const database = await createTestDatabase();
  onTestFinished(() => database.close());
  const records = texts.map((text) => parseExactJson(`{${JSON.stringify(text)}:${JSON.stringify(text)}}`));
  const { rows } = await database.pool.query<{ text: string; key: string; value: string }>(
    `SELECT t.text, kv.key, kv.value FROM unnest($1::text[], $2::jsonb[]) WITH ORDINALITY AS t(text, json, ord)
     CROSS JOIN LATERAL jsonb_each_text(t.json) AS kv ORDER BY ord`,
    [texts.map(escapeUnstorable), records.map((record) => canonicalJson(record))],
  );
  expect(rows.map(({ text }) => unescapeUnstorable(text))).toEqual(texts);
  expect(rows.map(({ key }) => unescapeUnstorable(key))).toEqual(texts);
  expect(rows.map(({ value }) => unescapeUnstorable(value))).toEqual(texts);
});

test('a megabyte of backslashes is escaped in no time', () => {
  const slashes = '\\'.repeat(1_000_000);
  const startedAt = performance.now();
  expect(escapeUnstorable(`${slashes}\0`)).toHaveLength(2_000_006);
  expect(escapeUnstorable(`${slashes}x`)).toHaveLength(1_000_001);
  expect(unescapeUnstorable(`${slashes}x`)).toHaveLength(1_000_001);
  // Each looked at once: milliseconds. From each one again: a quarter of an hour.
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});

test('numbers keep their digits, of a repeated key the last one’s', () => {
  const text = '{"a":1.50,"b":[1E+2,-0,1e400,[0.10]],"a":7.40,"c":{"a":1},"c":[2.0]}';
  expect(canonicalJson(parseExactJson(text))).toBe('{"a":7.40,"b":[1E+2,-0,1e400,[0.10]],"c":[2.0]}');
});

test('numbers are each their own where objects do not keep the order of the text', () => {
  // Equal as doubles, so that only their texts tell them apart.
  const texts = [
    ['{"b":1.0,"1":1.00}', '{"1":1.00,"b":1.0}'],
    ['{"10":1.0,"9":[1.00],"-1":1.000}', '{"-1":1.000,"10":1.0,"9":[1.00]}'],
    ['{"a":"","b":1.0,"a":1.00}', '{"a":1.00,"b":1.0}'],
    ['{"a":1.0,"b":1.00,"a":""}', '{"a":"","b":1.00}'],
    ['{"a":{"x":1.0},"b":1.00,"a":{"x":1.000}}', '{"a":{"x":1.000},"b":1.00}'],
    ['{"b":1.0,"a:\\"1\\":2":[1.00,"3:\\\\",1.000]}', '{"a:\\"1\\":2":[1.00,"3:\\\\",1.000],"b":1.0}'],
  ];
  for (const [text = '', canonical] of texts) expect(canonicalJson(parseExactJson(text))).toBe(canonical);
});

test('canonical JSON says the same as the text it came from, and does not heed the order of keys', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const canonical = canonicalJson(parseExactJson(JSON.stringify(value)));
      expect(parseExactJson(canonical)).toEqual(parseExactJson(JSON.stringify(value)));
      expect(canonicalJson(parseExactJson(JSON.stringify(reversed(value))))).toBe(canonical);
    }),
  );
});

test('a key named __proto__ is a key', () => {
  const record = parseExactJson('{"__proto__":{"quantity":"1"},"a\\u0000":1}');
  expect((record as { quantity?: unknown }).quantity).toBeUndefined();
  expect(canonicalJson(record)).toBe('{"__proto__":{"quantity":"1"},"a\\\\u0000":1}');
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, part]) => [key, reversed(part)]),
  );
}
