/** Measures, in a process of its own, what looking for drift costs beside normalizing: microseconds a record, as JSON. */
import { driftIn } from '../../src/calico/drift.ts';
import { parseExactJson } from '../../src/calico/json.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { normalizeTransaction } from '../../src/sync/normalize/transactions.ts';

const TRANSACTIONS = 20_000;
const PAGE = 100;
const ROUNDS = 8;

const data = generateData({ customers: 1, transactions: TRANSACTIONS, seed: 1 });
const [customerId = ''] = data.customerIds();
const filter = { assetSymbols: null, providerIds: null, startTimeMs: null, endTimeMs: null };
const { records } = data.read('transactions', customerId, { filter, after: null, limit: TRANSACTIONS });

const best = { normalizeUs: Number.POSITIVE_INFINITY, driftUs: Number.POSITIVE_INFINITY };
for (let round = 0; round < ROUNDS; round++) {
  const { normalizeUs, driftUs } = measure();
  best.normalizeUs = Math.min(best.normalizeUs, normalizeUs);
  best.driftUs = Math.min(best.driftUs, driftUs);
}
process.stdout.write(JSON.stringify({ records: records.length, ...best }));

/** Page by page as a sync does it: parsed, looked at, normalized. */
function measure(): typeof best {
  let [normalizeMs, driftMs] = [0, 0];
  for (let start = 0; start < records.length; start += PAGE) {
    const text = `{"data":{"transactions":[${records.slice(start, start + PAGE).join(',')}]}}`;
    const body = parseExactJson(text) as { data: { transactions: unknown[] } };
    const began = performance.now();
    driftIn({ endpoint: 'transactions' }, body);
    const looked = performance.now();
    for (const [index, record] of body.data.transactions.entries())
      normalizeTransaction(record, records[start + index] ?? '', true);
    normalizeMs += performance.now() - looked;
    driftMs += looked - began;
  }
  const each = 1000 / records.length;
  return { normalizeUs: normalizeMs * each, driftUs: driftMs * each };
}
