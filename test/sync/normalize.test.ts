/** Records as rows: every kind, every oddity, and never an exception. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseExactJson } from '../../src/calico/json.ts';
import { normalizeAsset } from '../../src/sync/normalize/assets.ts';
import { normalizeTransaction } from '../../src/sync/normalize/transactions.ts';
import { normalize, OTHER_SIDE, problemsOf, record, rowOf, SIDE } from '../support/normalized.ts';

const REAL = readFileSync(
  new URL('../../src/sandbox/data/ethereum-mainnet-17173049.jsonl', import.meta.url),
  'utf8',
)
  .trimEnd()
  .split('\n')
  .map((line) => line.slice(line.indexOf('"transaction":') + '"transaction":'.length, -1));

const normalizeAssetText = (text: string, keepRaw = true) =>
  normalizeAsset(parseExactJson(text), text, keepRaw);

function halvesOf(contentHash: string): [textHash: string, storedHash: string] {
  const [, textHash = '', storedHash = ''] = /^\\x([0-9a-f]{16})([0-9a-f]{16})$/.exec(contentHash) ?? [];
  expect(textHash).not.toBe('');
  return [textHash, storedHash];
}

describe('real wallets', () => {
  test('each of the 674 is a row of its kind', () => {
    const counts = Map.groupBy(REAL.map(rowOf), ({ kind }) => kind);
    expect(Object.fromEntries([...counts].map(([kind, rows]) => [kind, rows.length]))).toEqual({
      send: 213,
      receive: 213,
      input_only: 5,
      output_only: 1,
      input_output: 133,
      uncategorized: 109,
    });
  });

  test('each amount is the digits of its source, and raw says the same as the record', () => {
    for (const text of REAL) {
      const row = rowOf(text);
      for (const [side, amount] of [
        ['input', row.inputAmount],
        ['output', row.outputAmount],
      ] as const) {
        const source = new RegExp(`"${side}":\\{[^}]*"amount":"?([0-9.]+)"?`).exec(text)?.[1] ?? null;
        expect(amount).toBe(source);
      }
      expect(parseExactJson(row.raw ?? '')).toEqual(parseExactJson(text));
    }
  });

  test('the order of keys changes the first half of the content hash only; a digit the second, too', () => {
    for (const text of REAL.slice(0, 50)) {
      const row = rowOf(text);
      const [textHash, storedHash] = halvesOf(row.contentHash);
      const reordered = rowOf(JSON.stringify(reversed(parseExactJson(text))));
      expect({ ...reordered, raw: row.raw, contentHash: row.contentHash }).toEqual(row);
      expect(halvesOf(reordered.contentHash)).toEqual([expect.not.stringMatching(textHash), storedHash]);
      const otherTime = rowOf(text.replace(/"timestamp":(\d+)\d/, '"timestamp":$19'));
      expect(halvesOf(otherTime.contentHash)[1]).not.toBe(storedHash);
    }
  });

  test('what is stored of a fee is in the second half; raw is not, Postgres compares that', () => {
    const feed = (amount: string) =>
      rowOf(record(`"fees":{"items":[{"asset_symbol":"ETH","amount":${amount}}]}`));
    const storedOf = ({ contentHash }: { contentHash: string }) => halvesOf(contentHash)[1];
    expect(storedOf(feed('1'))).not.toBe(storedOf(feed('2')));
    expect(storedOf(feed('1'))).toBe(storedOf(feed('"1"')));
  });
});

describe('kinds', () => {
  test.each([
    ['send', `"output":${SIDE}`],
    ['receive', `"input":${SIDE}`],
    ['input_only', `"input":${SIDE},"output":null`],
    ['output_only', `"output":${SIDE}`],
    ['input_output', `"input":${SIDE},"output":${OTHER_SIDE}`],
    ['uncategorized', ''],
    ['uncategorized', `"input":${SIDE}`],
    ['uncategorized', `"input":${SIDE},"output":${OTHER_SIDE}`],
  ])('%s with %s', (kind, sides) => {
    expect(rowOf(record(`"kind":"${kind}"${sides === '' ? '' : `,${sides}`}`)).kind).toBe(kind);
  });

  test.each([
    [`"input":${SIDE},"output":${OTHER_SIDE}`, 'input_output'],
    [`"input":${SIDE}`, 'input_only'],
    [`"output":${SIDE},"input":null`, 'output_only'],
    ['"from_address":"a"', 'uncategorized'],
  ])('where the kind is missing or unknown, the shape tells: %s is %s', (sides, kind) => {
    for (const named of ['', '"kind":null,', '"kind":"staking",', '"kind":"",', '"kind":"constructor",']) {
      expect(rowOf(record(`${named}${sides}`)).kind).toBe(kind);
    }
  });

  test.each([
    [
      'send',
      `"input":${SIDE}`,
      ['input: is there, but kind is send', 'output: is missing, but kind is send'],
    ],
    ['send', `"input":${SIDE},"output":${SIDE}`, ['input: is there, but kind is send']],
    ['receive', '"input":null', ['input: is missing, but kind is receive']],
    ['receive', `"input":${SIDE},"output":${SIDE}`, ['output: is there, but kind is receive']],
    [
      'input_only',
      `"output":${SIDE}`,
      ['input: is missing, but kind is input_only', 'output: is there, but kind is input_only'],
    ],
    ['output_only', '"x":1', ['output: is missing, but kind is output_only']],
    ['input_output', `"input":${SIDE}`, ['output: is missing, but kind is input_output']],
  ])('%s with %s contradicts itself', (kind, sides, problems) => {
    const text = record(`"kind":"${kind}",${sides}`);
    expect(problemsOf(text)).toEqual(problems);
    expect(normalize(text)).toMatchObject({ key: '["p1","t1"]' });
  });
});

describe('positions', () => {
  test('absent parts of the key are empty, and null says the same as absent', () => {
    const short = normalizeAssetText('{"provider_id":"p","asset_symbol":"BTC","quantity":-1.50}', false);
    const long = normalizeAssetText(
      '{"provider_id":"p","asset_symbol":"BTC","quantity":-1.50,"account_id":null,"network":null,"contract_address":null,"value":null,"cost_basis":null,"as_of":null}',
      false,
    );
    const row = {
      providerId: 'p',
      accountId: '',
      assetSymbol: 'BTC',
      network: '',
      contractAddress: '',
      quantity: '-1.50',
      valueAmount: null,
      valueCurrency: null,
      costBasisAmount: null,
      costBasisCurrency: null,
      asOf: null,
      raw: null,
    };
    expect(short).toMatchObject({ row });
    expect(long).toMatchObject({ row });
  });

  test('values, cost basis and time', () => {
    const text =
      '{"provider_id":"p","asset_symbol":"BTC","quantity":"1","value":{"amount":1e3,"currency":"USD"},"cost_basis":{"amount":"-2","currency":"EUR"},"as_of":"2023-05-02T12:19:59Z"}';
    expect(normalizeAssetText(text)).toMatchObject({
      row: {
        valueAmount: '1000',
        valueCurrency: 'USD',
        costBasisAmount: '-2',
        costBasisCurrency: 'EUR',
        asOf: '2023-05-02T12:19:59.000Z',
      },
    });
  });

  test('one that cannot be read is known by as much of its key as it has', () => {
    const read = (text: string) => normalizeAssetText(text);
    expect(read('{"provider_id":"p","asset_symbol":"BTC","network":"n","quantity":"many"}')).toEqual({
      problems: [{ path: 'quantity', message: 'is not a decimal number' }],
      key: expect.stringContaining('BTC'),
    });
    expect(read('{"provider_id":5,"asset_symbol":"BTC","quantity":"1"}')).toMatchObject({ key: null });
    expect(read('null')).toMatchObject({ key: null });
  });
});

describe('totality: a row or problems, never an exception', () => {
  const good = parseExactJson(
    record(
      `"kind":"input_output","input":${SIDE},"output":${OTHER_SIDE},"fees":{"items":[${OTHER_SIDE}]},"categorization":{"type":"x"}`,
    ),
  );
  const asset = parseExactJson(
    '{"provider_id":"p","asset_symbol":"B","quantity":"1","value":{"amount":1,"currency":"U"}}',
  );

  function expectAnswer(value: unknown): void {
    for (const result of [normalizeTransaction(value, '', true), normalizeAsset(value, '', true)]) {
      if ('row' in result) expect(result.row.contentHash).toMatch(/^\\x/);
      else expect(result.problems.length).toBeGreaterThan(0);
    }
  }

  test('for any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expectAnswer(parseExactJson(JSON.stringify(value)));
        expectAnswer(value);
      }),
      { numRuns: 500 },
    );
  });

  test('for good records with anything in any place', () => {
    const anything = fc.oneof(
      fc.jsonValue().map((value) => parseExactJson(JSON.stringify(value))),
      fc.constantFrom(undefined, '', '-1', '1e999999999', 'NaN'),
      fc.constantFrom('1e999999999', '-0', '1e400', '9'.repeat(100)).map((text) => JSON.rawJSON(text)),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(good, asset),
        fc.array(fc.nat(30), { maxLength: 5 }),
        anything,
        (value, way, part) => {
          expectAnswer(mutated(value, way, part));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('for records nested as deep as a parser allows', () => {
    let depth = 4_000;
    let parsed: unknown;
    let text = '';
    while (parsed === undefined) {
      try {
        text = record(`"x":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`);
        parsed = parseExactJson(text);
      } catch {
        depth -= 25;
      }
    }
    expect(depth).toBeGreaterThan(500);
    expect(normalizeTransaction(parsed, text, true)).toEqual({
      problems: [{ path: '', message: 'nests deeper than 500 levels' }],
      key: '["p1","t1"]',
    });
    expectAnswer(parsed);
  });
});

/** A copy with `part` at the place that `way` leads to. */
function mutated(value: unknown, way: readonly number[], part: unknown): unknown {
  const [step, ...rest] = way;
  if (step === undefined || typeof value !== 'object' || value === null || JSON.isRawJSON(value)) return part;
  const entries = Object.entries(value);
  const chosen = step % Math.max(1, entries.length);
  const changed = entries.map(
    ([key, old], index) => [key, index === chosen ? mutated(old, rest, part) : old] as const,
  );
  return Array.isArray(value) ? changed.map(([, item]) => item) : Object.fromEntries(changed);
}

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null || JSON.isRawJSON(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, part]) => [key, reversed(part)]),
  );
}
