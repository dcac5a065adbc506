/**
 * Made-up customers of any size. Record `i` of a customer is a function of (seed, customer, i) and times rise
 * with `i`, so a page anywhere in a million transactions is found by arithmetic and nothing is held in memory.
 */
import {
  everyRecord,
  passes,
  providerOf,
  type RecordFilter,
  type RecordRequest,
  type RecordSlice,
  type SandboxData,
  type SandboxStream,
} from './data.ts';
import {
  accountsOf,
  type GeneratedCustomer,
  positionTexts,
  sketchTransaction,
  timeOfTransaction,
  transactionText,
} from './generate-records.ts';

export interface GenerateOptions {
  /** How many customers; they are called `customer-0001` and on. */
  readonly customers: number;
  /** Transactions of each customer, or of the customer at an index from 0, where one is to be larger. */
  readonly transactions: number | ((customerIndex: number) => number);
  readonly seed: number;
  /** When the three years of history end; by default a fixed day, for the same data every day. */
  readonly untilMs?: number;
}

const defaultUntilMs = Date.UTC(2026, 0, 1);

/** Deterministic data: the same options give the same text, in every process. Costs no memory per transaction. */
export function generateData(options: GenerateOptions): SandboxData {
  const { customers, transactions, seed, untilMs = defaultUntilMs } = options;
  const customerIds = Array.from(
    { length: customers },
    (_, index) => `customer-${String(index + 1).padStart(4, '0')}`,
  );
  const indexes = new Map(customerIds.map((customerId, index) => [customerId, index]));

  function customerOf(customerId: string): GeneratedCustomer {
    const index = indexes.get(customerId);
    if (index === undefined) throw new Error(`The sandbox has no customer ${customerId}.`);
    const count = typeof transactions === 'number' ? transactions : transactions(index);
    return { seed, index, untilMs, transactionCount: count, accounts: accountsOf(seed, index) };
  }

  return {
    customerIds: () => customerIds,
    hasCustomer: (customerId) => indexes.has(customerId),
    providers: (customerId) => {
      const ids = new Set(customerOf(customerId).accounts.map((account) => account.providerId));
      return [...ids].sort().map(providerOf);
    },
    count: (stream, customerId, filter = everyRecord) => countRecords(stream, customerOf(customerId), filter),
    read: (stream, customerId, request) => {
      const customer = customerOf(customerId);
      return stream === 'assets' ? readPositions(customer, request) : readTransactions(customer, request);
    },
  };
}

function countRecords(stream: SandboxStream, customer: GeneratedCustomer, filter: RecordFilter): number {
  if (stream === 'assets') return positionTexts(customer, filter).length;
  const { first, end } = indexRange(customer, filter);
  if (filter.assetSymbols === null && filter.providerIds === null) return end - first;
  let count = 0;
  for (let index = first; index < end; index += 1) {
    if (passes(filter, sketchTransaction(customer, index))) count += 1;
  }
  return count;
}

function readPositions(customer: GeneratedCustomer, { filter, after, limit }: RecordRequest): RecordSlice {
  const start = Number(after ?? 0);
  const texts = positionTexts(customer, filter);
  const end = start + limit;
  return { records: texts.slice(start, end), nextPosition: end < texts.length ? String(end) : null };
}

/** A position is the index of the next record to look at. */
function readTransactions(customer: GeneratedCustomer, { filter, after, limit }: RecordRequest): RecordSlice {
  const { first, end } = indexRange(customer, filter);
  const records: string[] = [];
  for (let index = after === null ? first : Number(after); index < end; index += 1) {
    const sketch = sketchTransaction(customer, index);
    if (!passes(filter, sketch)) continue;
    if (records.length === limit) return { records, nextPosition: String(index) };
    records.push(transactionText(sketch));
  }
  return { records, nextPosition: null };
}

/** The transactions of a time window, `end` excluded. */
function indexRange(customer: GeneratedCustomer, filter: RecordFilter): { first: number; end: number } {
  const { startTimeMs, endTimeMs } = filter;
  return {
    first: startTimeMs === null ? 0 : firstAtOrAfter(customer, startTimeMs),
    end: endTimeMs === null ? customer.transactionCount : firstAtOrAfter(customer, endTimeMs + 1),
  };
}

function firstAtOrAfter(customer: GeneratedCustomer, timeMs: number): number {
  let low = 0;
  let high = customer.transactionCount;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (timeOfTransaction(customer, middle) < timeMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
