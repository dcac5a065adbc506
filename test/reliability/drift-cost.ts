/** Measures, in a process of its own, what looking for drift costs beside normalizing: microseconds a record, as JSON. */
import { driftIn } from '../../src/calico/drift.ts';
import { parseExactJson } from '../../src/calico/json.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { normalizeTransaction } from '../../src/sync/normalize/transactions.ts';

const TRANSACTIONS = 20_000;
const ROUNDS = 8;

const data = generateData({ customers: 1, transactions: TRANSACTIONS, seed: 1 });
const [customerId = ''] = data.customerIds();
const filter = { assetSymbols: null, providerIds: null, startTimeMs: null, endTimeMs: null };
const { records } = data.read('transactions', customerId, { filter, after: null, limit: TRANSACTIONS });
const body = parseExactJson(`{"data":{"transactions":[${records.join(',')}]}}`) as {
  data: { transactions: unknown[] };
};

const best = { normalizeUs: Number.POSITIVE_INFINITY, driftUs: Number.POSITIVE_INFINITY };
for (let round = 0; round < ROUNDS; round++) {
  const normalizeUs = microsecondsEach(() => {
    for (const record of body.data.transactions) normalizeTransaction(record, true);
  });
  const driftUs = microsecondsEach(() => driftIn({ endpoint: 'transactions' }, body));
  best.normalizeUs = Math.min(best.normalizeUs, normalizeUs);
  best.driftUs = Math.min(best.driftUs, driftUs);
}
process.stdout.write(JSON.stringify({ records: records.length, ...best }));

function microsecondsEach(work: () => void): number {
  const began = performance.now();
  work();
  return ((performance.now() - began) * 1000) / TRANSACTIONS;
}
