/** What looking for drift costs: measured beside normalizing, on generated transactions, best of several rounds. */
import { expect, test } from 'vitest';
import { driftIn } from '../../src/calico/drift.ts';
import { parseExactJson } from '../../src/calico/json.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { normalizeTransaction } from '../../src/sync/normalize/transactions.ts';

const TRANSACTIONS = 20_000;
const ROUNDS = 10;
/** Of the time that normalizing takes. */
const MOST = 0.05;

test('a record without drift costs less than a twentieth of its normalizing', () => {
  const data = generateData({ customers: 1, transactions: TRANSACTIONS, seed: 1 });
  const [customerId = ''] = data.customerIds();
  const filter = { assetSymbols: null, providerIds: null, startTimeMs: null, endTimeMs: null };
  const { records } = data.read('transactions', customerId, { filter, after: null, limit: TRANSACTIONS });
  const body = parseExactJson(`{"data":{"transactions":[${records.join(',')}]}}`) as {
    data: { transactions: unknown[] };
  };

  const normalizing: number[] = [];
  const looking: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    normalizing.push(
      microsecondsEach(() => {
        for (const record of body.data.transactions) normalizeTransaction(record, true);
      }),
    );
    looking.push(microsecondsEach(() => driftIn({ endpoint: 'transactions' }, body)));
  }
  const [normalize, look] = [Math.min(...normalizing), Math.min(...looking)];
  expect(records).toHaveLength(TRANSACTIONS);
  expect(look / normalize, `${look.toFixed(2)} µs beside ${normalize.toFixed(2)} µs`).toBeLessThan(MOST);
});

function microsecondsEach(work: () => void): number {
  const began = performance.now();
  work();
  return ((performance.now() - began) * 1000) / TRANSACTIONS;
}
