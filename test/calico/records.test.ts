/** Records that are read when they are asked for are what they would have been at once. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseExactJson } from '../../src/calico/json.ts';
import { parseWithRecords } from '../../src/calico/records.ts';

const PATH = ['data', 'assets'];

/** JSON text with numbers in any spelling. */
const { source } = fc.letrec<{ source: string }>((tie) => ({
  source: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom(
      '7.40',
      '-0',
      '1e400',
      '0.1000000000000000055',
      'null',
      '"a\\u0000"',
      '"\\ud83d"',
      '"\\\\u0000"',
      '"\\"x"',
      '"é"',
    ),
    fc.array(tie('source'), { maxLength: 3 }).map((parts) => `[${parts}]`),
    fc
      .array(fc.tuple(fc.constantFrom('a', 'b', '1', '__proto__', 'rawJSON'), tie('source')), {
        maxLength: 3,
      })
      .map((parts) => `{${parts.map(([name, part]) => `"${name}": ${part}`)}}`),
  ),
}));

test('each is what it is by itself, however often it is asked for; what surrounds them is exact', () => {
  fc.assert(
    fc.property(fc.array(source, { maxLength: 4 }), source, (sources, other) => {
      const text = `{"more":${other},"data":{"assets":[${sources}],"n":1.50}}`;
      const { body, records } = parseWithRecords(text, PATH);
      expect(records?.length).toBe(sources.length);
      const hollow = { ...(body as object), data: { ...(body as { data: object }).data, assets: [] } };
      expect(hollow).toEqual(parseExactJson(text.replace(`[${sources}],"n"`, '[],"n"')));
      for (const [index, one] of sources.entries()) {
        expect(records?.sourceOf(index)).toBe(one);
        for (const _time of [1, 2]) expect(records?.read(index)).toEqual(parseExactJson(one));
      }
    }),
    { numRuns: 2_000 },
  );
});

test('a glance at one shows no text that cannot be stored', () => {
  const sources = ['{"id":"a\\u0000","n":7.40}', '{"id":"b","n":7.40}', '{"\\ud83d":1}'];
  const { body, records } = parseWithRecords(`{"data":{"assets":[${sources}]}}`, PATH);
  const seen = sources.map((_source, index) => records?.peek(index));
  expect(seen).toEqual([
    parseExactJson(sources[0] ?? ''),
    { id: 'b', n: 7.4 },
    parseExactJson(sources[2] ?? ''),
  ]);
  expect(body).toEqual({ data: { assets: seen } });
});

test('without an array in its place there are none', () => {
  expect(parseWithRecords('{"data":{"assets":1.50}}', PATH)).toEqual({
    body: parseExactJson('{"data":{"assets":1.50}}'),
    records: null,
  });
});

test.each([
  '',
  '{"data":{"assets":[1,]}}',
  '{"data":{"assets":[1]}',
  '{"data":{"assets":[1]}},',
  '[}',
  '{"data":{"assets":[{]}}',
])('what is not JSON is not taken for it: %s', (text) => {
  expect(() => parseWithRecords(text, PATH)).toThrow(SyntaxError);
});
