/** What an answer has that the contract does not, whatever else the answer is. */
import { expect, test } from 'vitest';
import { type Endpoint, RECORDS_PATH } from '../../src/calico/contract.ts';
import { type Drift, driftIn, MOST_DRIFTS } from '../../src/calico/drift.ts';
import { parseExactJson } from '../../src/calico/json.ts';
import { parseWithRecords } from '../../src/calico/records.ts';
import { loadRealData } from '../../src/sandbox/data-real.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { fee, position, transaction } from '../support/records.ts';

function driftOf(endpoint: Endpoint, body: unknown): Omit<Drift, 'endpoint'>[] {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const isPaged = endpoint === 'assets' || endpoint === 'transactions';
  const parsed = isPaged ? parseWithRecords(text, RECORDS_PATH[endpoint]).body : parseExactJson(text);
  return driftIn({ endpoint }, parsed).map(({ endpoint: of, ...drift }) => {
    expect(of).toBe(endpoint);
    return drift;
  });
}

const page = (...transactions: unknown[]) => ({ data: { transactions }, page: { next_cursor: null } });
const drift = (kind: string, path: string, detail: string, sample: string | null, count = 1) => ({
  ...{ kind, path, detail, sample, count },
});

test('the sandbox’s real and generated answers are as the contract says', () => {
  const filter = { assetSymbols: null, providerIds: null, startTimeMs: null, endTimeMs: null };
  for (const data of [loadRealData(), generateData({ customers: 3, transactions: 50, seed: 1 })]) {
    for (const id of data.customerIds().slice(0, 50)) {
      for (const stream of ['assets', 'transactions'] as const) {
        const { records } = data.read(stream, id, { filter, after: null, limit: 100 });
        expect(driftOf(stream, `{"data":{"${stream}":[${records.join(',')}]}}`)).toEqual([]);
      }
    }
  }
});

const one = (fields: Record<string, unknown>) => page(transaction('send', 't1', fields));
const at = 'data.transactions[]';

const DRIFTS: [string, Endpoint, unknown, ReturnType<typeof drift>[]][] = [
  [
    'an unknown field',
    'transactions',
    one({ risk: { score: 7.1 } }),
    [drift('unknown_field', `${at}.risk`, '', '{"score":7.1}')],
  ],
  [
    'a number of more digits than a glance at it is sure of',
    'transactions',
    JSON.stringify(one({ weight: '@' })).replace('"@"', '0.1234567890123456'),
    [drift('unknown_field', `${at}.weight`, '', '0.1234567890123456…')],
  ],
  [
    'an unknown kind',
    'transactions',
    one({ kind: 'stake' }),
    [drift('unknown_value', `${at}.kind`, 'stake', '"stake"')],
  ],
  [
    'another type, where the record is refused for it',
    'transactions',
    one({ output: { asset_symbol: 'ETH', amount: { units: 1 } } }),
    [drift('type_changed', `${at}.output.amount`, 'string or number expected, object seen', '{"units":1}')],
  ],
  [
    'null where there must be something',
    'transactions',
    one({ timestamp: null }),
    [drift('type_changed', `${at}.timestamp`, 'string or number expected, null seen', null)],
  ],
  [
    'a name that changed is one that is missing and one that is new',
    'transactions',
    one({ fees: { items: [{ type: 'network', asset_symbol: 'USD', value_amount: '1' }] } }),
    [
      drift('unknown_field', `${at}.fees.items[].value_amount`, '', '"1"'),
      drift('missing_field', `${at}.fees.items[].amount`, '', null),
    ],
  ],
  [
    'counted over a page, however many records have it',
    'transactions',
    page(
      ...['1', '2', '3'].map((id) =>
        transaction('send', id, { note: id, fees: { items: [fee('1', { x: 1 }), fee('1', { x: 2 })] } }),
      ),
    ),
    [
      drift('unknown_field', `${at}.fees.items[].x`, '', '1', 6),
      drift('unknown_field', `${at}.note`, '', '"1"', 3),
    ],
  ],
  [
    'the envelope',
    'transactions',
    { ...page(), meta: [1], page: { next_cursor: 7, has_more: 'no', limit: 'ten', of: 3 } },
    [
      drift('unknown_field', 'meta', '', '[1]'),
      drift('type_changed', 'page.next_cursor', 'string or null expected, number seen', '7'),
      drift('type_changed', 'page.has_more', 'boolean or null expected, string seen', '"no"'),
      drift('unknown_field', 'page.of', '', '3'),
    ],
  ],
  [
    'no list of records',
    'assets',
    { data: { positions: [] } },
    [drift('unknown_field', 'data.positions', '', '[]'), drift('missing_field', 'data.assets', '', null)],
  ],
  ['no object at all', 'assets', '[1]', [drift('type_changed', '', 'object expected, array seen', '[1]')]],
  [
    'a refresh',
    'refreshAssets',
    { data: { status: 'accepted', job: 'j1' }, errors: [{ provider: 'x' }] },
    [
      drift('unknown_field', 'data.job', '', '"j1"'),
      drift('unknown_field', 'errors[].provider', '', '"x"'),
      drift('missing_field', 'errors[].cause', '', null),
    ],
  ],
  [
    'a name that no path can hold',
    'assets',
    { data: { assets: [position('BTC', '1', { 'a.b[] "c"': 1 })] } },
    [drift('unknown_field', 'data.assets[]["a.b[] \\"c\\""]', '', '1')],
  ],
  [
    'names that every object has already',
    'assets',
    '{"data":{"assets":[]},"__proto__":1,"constructor":2}',
    [drift('unknown_field', '__proto__', '', '1'), drift('unknown_field', 'constructor', '', '2')],
  ],
];

test.each(DRIFTS)('%s', (_what, endpoint, body, expected) => {
  const byPath = (list: readonly { path: string; kind: string }[]) =>
    list.toSorted((a, b) => `${a.path} ${a.kind}`.localeCompare(`${b.path} ${b.kind}`));
  expect(byPath(driftOf(endpoint, body))).toEqual(byPath(expected));
});

test('of the token endpoint names and types, never a value', () => {
  const body = { access_token: 7, id_token: 'eyJhbGciOi', refresh_token: 'r-secret' };
  const found = driftOf('token', body);
  expect(found).toEqual([
    drift('type_changed', 'access_token', 'string expected, number seen', null),
    drift('unknown_field', 'id_token', '', null),
  ]);
});

test('a request’s secrets are in no sample, name or value, whole or cut', () => {
  const bearer = `secret-${'s'.repeat(60)}`;
  const record = transaction('send', 't1', {
    kind: bearer,
    echo: `Bearer ${bearer}`,
    [bearer]: { a: ['x'.repeat(150), bearer] },
  });
  const found = driftIn({ endpoint: 'transactions', bearer }, parseExactJson(JSON.stringify(page(record))));
  expect(found).toHaveLength(3);
  expect(JSON.stringify(found)).not.toMatch(/secret-s|ssss/);
  expect(found.map(({ sample }) => sample)).toContain('"Bearer [secret]"');
});

test('ten thousand levels, a megabyte of text and as many names as there are ids cost no more than they may', () => {
  const deep = `${'[{"a":'.repeat(1_000)}1${'}]'.repeat(1_000)}`;
  const record = JSON.stringify(
    transaction('send', 't1', { long: 'x'.repeat(1_000_000), [`n${'x'.repeat(5_000)}`]: 1 }),
  );
  const withDeep = `${record.slice(0, -1)},"deep":${deep}}`;
  const ids = Object.fromEntries(Array.from({ length: 1_000 }, (_none, index) => [`id-${index}`, index]));
  const text = `{"data":{"transactions":[${withDeep},${JSON.stringify({ ...transaction('send', 't2'), ...ids })}]}}`;

  const found = driftOf('transactions', text);
  expect(found).toHaveLength(MOST_DRIFTS + 1);
  expect(found.find(({ path }) => path.endsWith('.deep'))?.sample).toBe('[{"a":[{…}]}]');
  expect(found.at(-1)).toEqual(drift('more', '', '', null, 1_003 - MOST_DRIFTS));
  expect(found.reduce((sum, { count }) => sum + count, 0)).toBe(1_003);
  for (const { path, detail, sample } of found) {
    expect(path.length).toBeLessThanOrEqual(150);
    expect(detail.length + (sample?.length ?? 0)).toBeLessThanOrEqual(300);
  }
});

test('a value of ten thousand levels, as no text can hold it, is looked at no further than the contract goes', () => {
  let value: unknown = 1;
  for (let level = 0; level < 10_000; level++) value = [value];
  expect(driftIn({ endpoint: 'assets' }, { data: { assets: [], more: value } })).toMatchObject([
    { sample: '[[[[…]]]]' },
  ]);
});
