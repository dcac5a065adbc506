/** The quarantine's texts: each element of an array exactly as it was written. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sliceArray } from '../../src/calico/json-slices.ts';

const space = fc.string({ unit: fc.constantFrom(' ', '\n', '\t', '\r'), maxLength: 3 });
const stringSource = fc.oneof(
  fc
    .string({ unit: fc.constantFrom('a', '\0', '"', '\\', ']', '}', ',', '☃', '😀'), maxLength: 6 })
    .map((text) => JSON.stringify(text)),
  fc.constantFrom('"\\""', '"\\\\"', '"]"', '"},{"', '"\\u005d"', '"\\\\\\""', '"data"'),
);

/** JSON source text as no serializer writes it: spaces anywhere, repeated keys, odd numbers. */
const { source } = fc.letrec<{ source: string; list: string; object: string }>((tie) => ({
  source: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(stringSource, fc.constantFrom('1', '-0.50e+3', 'true', 'false', 'null', '{}', '[]', '[ ]')),
    tie('list'),
    tie('object'),
  ),
  list: fc
    .array(fc.tuple(space, tie('source'), space), { maxLength: 3 })
    .map((parts) => `[${parts.map((part) => part.join('')).join(',')}]`),
  object: fc
    .array(fc.tuple(space, fc.oneof(stringSource, fc.constant('"a"')), space, space, tie('source'), space), {
      maxLength: 3,
    })
    .map(
      (parts) => `{${parts.map(([a, key, b, c, value, d]) => `${a}${key}${b}:${c}${value}${d}`).join(',')}}`,
    ),
}));

const members = fc.array(fc.tuple(fc.constantFrom('"x"', '"data"', '"assets"', '"a\\"b"'), space, source), {
  maxLength: 3,
});
const joined = (parts: string[]) => parts.filter((part) => part !== '').join(',');
const membersSource = (parts: [string, string, string][]) =>
  joined(parts.map(([key, gap, value]) => `${gap}${key}${gap}:${gap}${value}${gap}`));

test('each slice is the source of its element, whatever stands around it', () => {
  fc.assert(
    fc.property(
      fc.array(source, { maxLength: 5 }),
      members,
      members,
      space,
      (elements, outer, inner, gap) => {
        const list = `[${gap}${elements.map((element) => `${gap}${element}${gap}`).join(',')}]`;
        const data = joined([membersSource(inner), `${gap}"assets"${gap}:${gap}${list}${gap}`]);
        const json = `${gap}{${joined([membersSource(outer), `"d\\u0061ta":${gap}{${data}}`])}${gap}}${gap}`;
        JSON.parse(json);
        const sliced = sliceArray(json, ['data', 'assets']);
        expect(sliced?.sources).toEqual(elements);
        expect(JSON.parse(json.slice(sliced?.start, sliced?.end))).toEqual(JSON.parse(json).data.assets);
      },
    ),
    { numRuns: 1_000 },
  );
});

test('of a repeated key the last one counts, as in JSON.parse', () => {
  const json = '{"data":{"assets":[1]},"data":{"assets":[2],"assets":[ 3 , 4 ]}}';
  expect(sliceArray(json, ['data', 'assets'])).toEqual({ start: 53, end: 62, sources: ['3', '4'] });
});

test('depth costs no stack', () => {
  const deep = `${'[{"a":'.repeat(50_000)}1${'}]'.repeat(50_000)}`;
  expect(sliceArray(`{"data":{"x":${deep},"assets":[${deep},2]}}`, ['data', 'assets'])?.sources).toEqual([
    deep,
    '2',
  ]);
});

test.each([
  ['a missing key', '{"data":{}}'],
  ['an object in place of the array', '{"data":{"assets":{}}}'],
  ['an array that a later key of the same name replaces', '{"data":{"assets":[1]},"data":{}}'],
  ['an array that a later value replaces', '{"data":{"assets":[1],"assets":"none"}}'],
])('%s is no list', (_what, json) => {
  expect(sliceArray(json, ['data', 'assets'])).toBeNull();
});

test('what is no JSON ends, too', () => {
  const part = fc.constantFrom('{', '}', '[', ']', ',', ':', '"data"', '"assets"', '"', '\\\\', '1', ' ');
  fc.assert(
    fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
      sliceArray(parts.join(''), ['data', 'assets']);
    }),
    { numRuns: 5_000 },
  );
});
