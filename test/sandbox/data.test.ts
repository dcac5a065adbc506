import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { everyRecord, everyRecordOf } from '../../src/sandbox/data.ts';
import { createMemoryData } from '../../src/sandbox/data-memory.ts';
import { addDecimals, loadRealData } from '../../src/sandbox/data-real.ts';
import { startSandbox } from '../../src/sandbox/server.ts';
import { recordsText, transaction, walk } from './client.ts';

const dataFile = new URL('../../src/sandbox/data/ethereum-mainnet-17173049.jsonl', import.meta.url);

/** Every number of a JSON text that is not in a string, and every amount, as it is written. */
function digitsOf(text: string): string[] {
  return text.match(/"amount":"?[^,}]+|"timestamp":\d+/g) ?? [];
}

describe('real data', () => {
  const data = loadRealData();
  const wallets = data.customerIds();

  test('has 538 wallets with 674 transactions', () => {
    expect(wallets).toHaveLength(538);
    const counts = wallets.map((wallet) => data.count('transactions', wallet));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(674);
  });

  test("reaches the wire with the file's own digits, every wallet of it", async () => {
    await using sandbox = await startSandbox({ data });
    const onTheWire: string[] = [];
    for (const wallet of wallets) {
      const pages = await walk(sandbox, 'transactions', wallet, { limit: 7 });
      onTheWire.push(...pages.flatMap((answer) => digitsOf(recordsText(answer))));
    }
    const inTheFile = digitsOf(readFileSync(dataFile, 'utf8'));
    expect(inTheFile.filter((digits) => /"amount":\d/.test(digits))).toHaveLength(531);
    expect(onTheWire.sort()).toEqual(inTheFile.sort());
  });

  test('a position holds the exact sum of what was received', () => {
    const wallet = '0x7a250d5630b4cf539739df2c5dacb4c659f2488d';
    const received = [...everyRecordOf(data, 'transactions', wallet)].flatMap((text) => {
      const amount = /"input":\{"asset_symbol":"WETH"[^}]*?"amount":"?([\d.]+)/.exec(text)?.[1];
      return amount === undefined ? [] : [amount];
    });
    const position = [...everyRecordOf(data, 'assets', wallet)].find((text) => text.includes('"WETH"'));
    expect(received.length).toBeGreaterThan(3);
    expect(position).toContain(received.reduce(addDecimals, '0'));
  });

  test('every wallet has positions only of what moved, each once', () => {
    for (const wallet of wallets) {
      const moved = [...everyRecordOf(data, 'transactions', wallet)].flatMap((text) => {
        const { input, output } = JSON.parse(text);
        return [input, output].flatMap((side) =>
          side ? [`${side.asset_symbol} ${side.contract_address}`] : [],
        );
      });
      const held = [...everyRecordOf(data, 'assets', wallet)].map((text) => JSON.parse(text));
      const keys = held.map(({ asset_symbol, contract_address }) => `${asset_symbol} ${contract_address}`);
      expect(keys.sort()).toEqual([...new Set(moved)].sort());
    }
  });
});

test('decimals are added exactly', () => {
  expect(addDecimals('0.1', '0.2')).toBe('0.3');
  const scaled = fc.bigInt({ min: 0n, max: 10n ** 40n });
  fc.assert(
    fc.property(scaled, scaled, (one, other) => {
      const decimal = (value: bigint): string =>
        value
          .toString()
          .padStart(19, '0')
          .replace(/(\d{18})$/, '.$1');
      const sum = decimal(one + other).replace(/\.?0+$/, '');
      expect(addDecimals(decimal(one), decimal(other))).toBe(sum === '' ? '0' : sum);
    }),
  );
});

describe('data in memory', () => {
  const textsOf = (data: ReturnType<typeof createMemoryData>): string[] => [
    ...everyRecordOf(data, 'transactions', 'ann'),
  ];

  test('keeps source text as it is, malformed or not', () => {
    const data = createMemoryData();
    const texts = ['{"transaction_id" : "a", "amount": 1.10E+1}', '{"no_id":1}', '{ broken', '[]', 'null'];
    data.add('transactions', 'ann', ...texts);
    expect(textsOf(data).sort()).toEqual(texts.sort());
  });

  test('an unreadable record is in every time window', () => {
    const data = createMemoryData();
    data.add('transactions', 'ann', '{"transaction_id":"a"}', transaction('b', { timestamp: 5 }));
    expect(data.count('transactions', 'ann', { ...everyRecord, startTimeMs: 6 })).toBe(1);
  });

  test('orders times written as numbers and as RFC 3339 together', () => {
    const data = createMemoryData();
    const records = [
      transaction('c', { timestamp: 3_000 }),
      transaction('b', { timestamp: '1970-01-01T00:00:02Z' }),
      transaction('a', { timestamp: 1_000 }),
    ];
    data.add('transactions', 'ann', ...records);
    expect(textsOf(data).map((text) => JSON.parse(text).transaction_id)).toEqual(['a', 'b', 'c']);
  });

  test('replaces by record and by function of the text', () => {
    const data = createMemoryData();
    data.add('transactions', 'ann', transaction('a', { amount: 1 }), transaction('b'));
    data.replace('transactions', 'ann', 'a', (text) => text.replace('uncategorized', 'send'));
    data.replace('transactions', 'ann', 'b', transaction('z'));
    expect(textsOf(data).map((text) => JSON.parse(text))).toEqual([
      transaction('a', { amount: 1, kind: 'send' }),
      transaction('z'),
    ]);
    expect(() => data.replace('transactions', 'ann', 'b', transaction('b'))).toThrow(
      'no transactions record b',
    );
  });

  test('removes every record of an id and says how many', () => {
    const data = createMemoryData();
    data.add('transactions', 'ann', transaction('a'), transaction('a'), transaction('b'));
    expect(data.remove('transactions', 'ann', 'a')).toBe(2);
    expect(data.remove('transactions', 'ann', 'a')).toBe(0);
    expect(data.count('transactions', 'ann')).toBe(1);
  });

  test('finds the providers in the records unless they are set', () => {
    const data = createMemoryData();
    data.add('transactions', 'ann', transaction('a'), transaction('b', { provider_id: 'ethereum_wallet' }));
    expect(data.providers('ann').map(({ display_label }) => display_label)).toEqual([
      'Coinbase',
      'Ethereum wallet',
    ]);
    data.setProviders('ann', []);
    expect(data.providers('ann')).toEqual([]);
  });

  test('throws for a customer that it does not have', () => {
    expect(() => createMemoryData().count('assets', 'nobody')).toThrow('nobody');
  });
});
