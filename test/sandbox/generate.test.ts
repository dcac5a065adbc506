import { describe, expect, test } from 'vitest';
import { everyRecord, everyRecordOf, type RecordFilter } from '../../src/sandbox/data.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { drawAmount, drawsFrom } from '../../src/sandbox/generate-random.ts';

const options = { customers: 12, transactions: 300, seed: 42 };
const data = generateData(options);
const customerIds = data.customerIds();

function textsOf(customerId: string, from = data): string[] {
  return [...everyRecordOf(from, 'transactions', customerId)];
}

test('the same options give the same text, another seed another', () => {
  for (const customerId of customerIds) {
    const again = generateData(options);
    expect(textsOf(customerId, again)).toEqual(textsOf(customerId));
    expect([...everyRecordOf(again, 'assets', customerId)]).toEqual([
      ...everyRecordOf(data, 'assets', customerId),
    ]);
  }
  expect(textsOf('customer-0001', generateData({ ...options, seed: 43 }))).not.toEqual(
    textsOf('customer-0001'),
  );
});

test('customers differ, and are called by number', () => {
  expect(customerIds.slice(0, 2)).toEqual(['customer-0001', 'customer-0002']);
  expect(new Set(customerIds.map((customerId) => textsOf(customerId)[0]))).toHaveProperty('size', 12);
});

test('ids are never given twice, also among very many', () => {
  const many = generateData({ customers: 1, transactions: 50_000, seed: 1 });
  const ids = textsOf('customer-0001', many).map((text) => text.slice(0, text.indexOf(',')));
  expect(new Set(ids).size).toBe(50_000);
});

test('nor where two records draw the same', () => {
  const many = generateData({ customers: 1, transactions: 200_000, seed: 1 });
  const ids = ['89432', '191579'].map((after) => {
    const { records } = many.read('transactions', 'customer-0001', { filter: everyRecord, after, limit: 1 });
    return JSON.parse(records[0] ?? '').transaction_id;
  });
  expect(ids[0]).not.toBe(ids[1]);
});

describe('the records of a few customers', () => {
  const records = customerIds.flatMap((customerId) => textsOf(customerId).map((text) => JSON.parse(text)));
  const texts = customerIds.flatMap((customerId) => textsOf(customerId)).join('\n');

  test('are of all six kinds, with the sides that each has', () => {
    const sidesOf = new Map([
      ['input_only', [true, false]],
      ['receive', [true, false]],
      ['output_only', [false, true]],
      ['send', [false, true]],
      ['input_output', [true, true]],
    ]);
    for (const { kind, input, output } of records) {
      const sides = sidesOf.get(kind);
      if (sides !== undefined) expect([input !== undefined, output !== undefined]).toEqual(sides);
    }
    expect(new Set(records.map(({ kind }) => kind))).toEqual(new Set([...sidesOf.keys(), 'uncategorized']));
  });

  test('spread over three years in rising order', () => {
    const times = textsOf('customer-0003').map((text) => new Date(JSON.parse(text).timestamp).getTime());
    expect(times).toEqual(times.toSorted((one, other) => one - other));
    expect(new Date(times[0] ?? 0).getUTCFullYear()).toBe(2023);
    expect(new Date(times.at(-1) ?? 0).getUTCFullYear()).toBe(2025);
  });

  test('have up to two fees, several providers, and values in dollars', () => {
    expect(new Set(records.map(({ fees }) => fees?.items.length))).toEqual(new Set([undefined, 0, 1, 2]));
    expect(new Set(records.map(({ provider_id }) => provider_id)).size).toBeGreaterThan(4);
    expect(texts).toContain('"currency":"USD"');
  });

  test.each([
    ['a string of 18 decimals', /"amount":"\d+\.\d{18}"/],
    ['a number of 18 decimals', /"amount":\d+\.\d{18}[,}]/],
    ['an exponent in a string', /"amount":"[\d.]+[eE]-\d+"/],
    ['an exponent in a number', /"amount":[\d.]+[eE]-\d+[,}]/],
  ])('write amounts as %s', (_form, shape) => {
    expect(texts).toMatch(shape);
  });

  test('have 1 to 20 positions a customer, each key once', () => {
    for (const customerId of customerIds) {
      const positions = [...everyRecordOf(data, 'assets', customerId)].map((text) => JSON.parse(text));
      const keys = positions.map(({ account_id, asset_symbol }) => `${account_id} ${asset_symbol}`);
      expect(keys.length).toBeGreaterThanOrEqual(1);
      expect(keys.length).toBeLessThanOrEqual(20);
      expect(new Set(keys).size).toBe(keys.length);
      expect(data.count('assets', customerId)).toBe(keys.length);
    }
  });

  test('name only providers that the customer has', () => {
    for (const customerId of customerIds) {
      const known = data.providers(customerId).map(({ provider_id }) => provider_id);
      for (const text of textsOf(customerId)) expect(known).toContain(JSON.parse(text).provider_id);
    }
  });
});

test('an amount is a JSON number or string within the contract', () => {
  const draw = drawsFrom(5);
  for (let index = 0; index < 5_000; index += 1) {
    const { json } = drawAmount(draw, 18);
    expect(String(JSON.parse(json))).not.toBe('NaN');
    expect(json).toMatch(/^("?)[0-9]+(\.[0-9]{1,18})?([eE]-[0-9]+)?\1$/);
  }
});

describe('a customer of a million transactions', () => {
  const whale = generateData({
    customers: 2,
    transactions: (index) => (index === 0 ? 1_000_000 : 3),
    seed: 9,
  });

  test('is counted and entered anywhere without walking there', () => {
    expect(whale.count('transactions', 'customer-0001')).toBe(1_000_000);
    expect(whale.count('transactions', 'customer-0002')).toBe(3);
    const last = whale.read('transactions', 'customer-0001', {
      filter: everyRecord,
      after: '999999',
      limit: 100,
    });
    expect(last).toMatchObject({ records: [expect.any(String)], nextPosition: null });
  });

  test('is cut by a time window to the records in it', () => {
    const middle = whale.read('transactions', 'customer-0001', {
      filter: everyRecord,
      after: '500000',
      limit: 11,
    });
    const times = middle.records.map((text) => new Date(JSON.parse(text).timestamp).getTime());
    const filter: RecordFilter = { ...everyRecord, startTimeMs: times[0] ?? 0, endTimeMs: times[10] ?? 0 };
    expect([...everyRecordOf(whale, 'transactions', 'customer-0001', filter)]).toEqual(middle.records);
    expect(whale.count('transactions', 'customer-0001', filter)).toBe(11);
  });
});
