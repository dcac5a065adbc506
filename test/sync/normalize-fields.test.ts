/** Fields and times of transactions as columns. */
import { describe, expect, test } from 'vitest';
import { canonicalJson, parseExactJson } from '../../src/calico/json.ts';
import { normalize, OTHER_SIDE, problemsOf, record, rowOf, SIDE } from '../support/normalized.ts';

describe('fields', () => {
  test('each goes to its column', () => {
    const text = record(
      `"kind":"input_output","account_id":"a1","categorization":{"type":"trade","subtype":"spot"},"input":${SIDE},"output":${OTHER_SIDE},"from_address":"f","to_address":"t","hash":"h","network":"n","description":"d"`,
    );
    expect(rowOf(text)).toMatchObject({
      kind: 'input_output',
      providerId: 'p1',
      transactionId: 't1',
      accountId: 'a1',
      occurredAt: '2023-05-02T12:19:59.000Z',
      category: 'trade',
      subcategory: 'spot',
      inputAssetSymbol: 'ETH',
      inputContractAddress: '0x1',
      inputAmount: '1.50',
      inputValueAmount: '3',
      inputValueCurrency: 'USD',
      outputAssetSymbol: 'BTC',
      outputContractAddress: null,
      outputAmount: '0.1',
      outputValueAmount: null,
      outputValueCurrency: null,
      fromAddress: 'f',
      toAddress: 't',
      transactionHash: 'h',
      network: 'n',
      description: 'd',
      fees: [],
    });
  });

  test('fees keep their order and their source; a rebate is negative', () => {
    const [first, second] = [
      '{"type":"network","asset_symbol":"ETH","amount":0.0010,"value":{"amount":"2","currency":"EUR"}}',
      '{"asset_symbol":"BNB","amount":"-1e-3","note":"rebate"}',
    ];
    const { fees } = rowOf(record(`"fees":{"items":[${first},${second}],"total":null}`));
    expect(fees).toMatchObject([
      {
        position: 0,
        feeType: 'network',
        assetSymbol: 'ETH',
        amount: '0.0010',
        valueAmount: '2',
        valueCurrency: 'EUR',
      },
      {
        position: 1,
        feeType: null,
        assetSymbol: 'BNB',
        amount: '-0.001',
        valueAmount: null,
        valueCurrency: null,
      },
    ]);
    expect(fees.map(({ raw }) => raw)).toEqual(
      [first, second].map((text) => canonicalJson(parseExactJson(text))),
    );
    expect(new Set(fees.map(({ contentHash }) => contentHash)).size).toBe(2);
    for (const none of ['null', '{"items":[]}']) expect(rowOf(record(`"fees":${none}`)).fees).toEqual([]);
  });

  test.each([
    [
      'a negative amount',
      `"input":{"asset_symbol":"ETH","amount":"-1"}`,
      'input.amount: must not be negative',
    ],
    [
      'an amount as a boolean',
      `"input":{"asset_symbol":"ETH","amount":true}`,
      'input.amount: Invalid input: expected text or number',
    ],
    [
      'a 79-digit amount',
      `"input":{"asset_symbol":"ETH","amount":${'9'.repeat(79)}}`,
      'input.amount: has more than 78 digits',
    ],
    [
      'a bad fee',
      `"fees":{"items":[{"asset_symbol":"ETH","amount":"1"},{"amount":"x"}]}`,
      'fees.items.1.amount: is not a decimal number',
    ],
    ['fees as a list', '"fees":[]', 'fees: Invalid input: expected object, received array'],
    [
      'a description that is a number',
      '"description":5',
      'description: Invalid input: expected string, received object',
    ],
  ])('%s is a problem with its path', (_what, rest, problem) => {
    expect(problemsOf(record(rest))).toContainEqual(problem);
  });

  test('no problem quotes a value', () => {
    const text = record('"input":{"asset_symbol":5,"amount":"s3cret"},"kind":{"s3cret":1},"hash":["s3cret"]');
    expect(problemsOf(text).join()).not.toContain('s3cret');
  });

  test('raw is kept only where it is wanted, the hash always', () => {
    const text = record(`"input":${SIDE},"fees":{"items":[{"asset_symbol":"ETH","amount":"1"}]}`);
    const [kept, spared] = [normalize(text, true), normalize(text, false)];
    if (!('row' in kept) || !('row' in spared)) throw new Error('no row');
    expect({ ...spared.row, fees: spared.row.fees() }).toEqual({
      ...kept.row,
      raw: null,
      contentHash: expect.stringMatching(/^\\x[0-9a-f]{32}$/),
      fees: kept.row.fees().map((fee) => ({ ...fee, raw: null })),
    });
  });

  test('what a record inherits is none of its fields', () => {
    const row = rowOf(
      record(`"__proto__":{"input":{"asset_symbol":5},"from_address":{"x":1},"fees":{"items":[1]}}`),
    );
    expect(row).toMatchObject({ kind: 'uncategorized', fromAddress: null, inputAssetSymbol: null, fees: [] });
    expect(row.raw).toContain('"__proto__":{');
  });
});

describe('timestamps', () => {
  const timed = (timestamp: string) => record().replace('1683029999000', timestamp);

  test.each([
    ['100000000000', '1973-03-03T09:46:40.000Z'],
    ['1683029999000', '2023-05-02T12:19:59.000Z'],
    ['1.683029999E+12', '2023-05-02T12:19:59.000Z'],
    ['253402300799999', '9999-12-31T23:59:59.999Z'],
    ['"2023-05-02T12:19:59Z"', '2023-05-02T12:19:59.000Z'],
    ['"2023-05-02t12:19:59.5z"', '2023-05-02T12:19:59.500Z'],
    ['"2023-05-02 12:19:59+02:00"', '2023-05-02T10:19:59.000Z'],
    ['"2023-12-31T23:30:00.123456-01:30"', '2024-01-01T01:00:00.123456Z'],
    ['"2023-05-02T12:19:59.1234Z"', '2023-05-02T12:19:59.1234Z'],
    ['"2023-05-02T12:19:59.123456789Z"', '2023-05-02T12:19:59.123456Z'],
    ['"2023-05-02T12:19:59.999999999Z"', '2023-05-02T12:19:59.999999Z'],
    ['"2024-02-29T00:00:00Z"', '2024-02-29T00:00:00.000Z'],
    ['"0001-01-01T00:00:00Z"', '0001-01-01T00:00:00.000Z'],
    ['"1899-12-31T23:59:59Z"', '1899-12-31T23:59:59.000Z'],
    ['"9999-12-31T23:59:59.999999Z"', '9999-12-31T23:59:59.999999Z'],
  ])('%s is %s', (timestamp, occurredAt) => expect(rowOf(timed(timestamp)).occurredAt).toBe(occurredAt));

  test.each([
    '-1',
    '0',
    '1683029999', // seconds
    '253402300800000',
    '1e300',
    '1683029999.123',
    'null',
    '""',
    '"1683029999000"',
    '"2023-05-02"',
    '"2023-05-02T12:19:59"',
    '"2023-02-30T00:00:00Z"',
    '"2023-02-29T00:00:00Z"',
    '"2023-04-31 00:00:00+01:00"',
    '"2023-13-01T00:00:00Z"',
    '"2023-00-01T00:00:00Z"',
    '"2023-05-02T24:00:00Z"',
    '"2023-05-02T12:60:00Z"',
    '"2023-05-02T12:19:60Z"',
    '"2023-05-02T12:19:59+25:00"',
    '"10000-01-01T00:00:00Z"',
    '"+010000-01-01T00:00:00Z"',
    '"-000001-01-01T00:00:00Z"',
    '"0000-12-31T23:59:59Z"',
    '"0001-01-01T00:00:00+01:00"',
    '"9999-12-31T23:59:59-01:00"',
    '"Tue, 02 May 2023 12:19:59 GMT"',
    '" 2023-05-02T12:19:59Z"',
  ])('%s is refused, not guessed', (timestamp) => {
    expect(problemsOf(timed(timestamp))).toEqual([expect.stringContaining('timestamp: ')]);
  });
});
