/** Data that a test makes and changes while the sandbox runs: re-categorise, delete, duplicate, malform. */
import {
  everyRecord,
  passes,
  providerOf,
  type RecordFacts,
  type RecordRequest,
  type RecordSlice,
  type SandboxData,
  type SandboxProvider,
  type SandboxStream,
} from './data.ts';

/**
 * A record: JSON source text, which goes out as it is even when it is no JSON at all (the page is then broken
 * with it), or an object, which is stringified once.
 */
export type SandboxRecord = string | object;

/**
 * A `SandboxData` that can be changed at any time, also between two pages of a walk. Records are addressed by
 * `transaction_id`, or `asset_symbol` in the stream of assets; where several share it, all are meant.
 */
export interface MemoryData extends SandboxData {
  /** Makes a customer known, with no records; nothing happens to one that is known already. */
  addCustomer(customerId: string): void;
  /** Forgets a customer and its records; returns whether it was there. */
  removeCustomer(customerId: string): boolean;
  /** Names the providers in place of those found in the records. */
  setProviders(customerId: string, providers: readonly SandboxProvider[]): void;
  /** Adds records; the same id may be added again, which makes a duplicate. Adds the customer if need be. */
  add(stream: SandboxStream, customerId: string, ...records: readonly SandboxRecord[]): void;
  /** Puts a record, or what a function makes of its text, in place of an id's. Throws if the id is not there. */
  replace(
    stream: SandboxStream,
    customerId: string,
    id: string,
    replacement: SandboxRecord | ((text: string) => SandboxRecord),
  ): void;
  /** Removes an id's records; returns how many there were. */
  remove(stream: SandboxStream, customerId: string, id: string): number;
}

interface StoredRecord extends RecordFacts {
  readonly id: string;
  /** Order of arrival: tells duplicates apart, so that a page may end between them. */
  readonly serial: number;
  readonly text: string;
}

type SortKey = Pick<StoredRecord, 'timeMs' | 'id' | 'serial'>;

interface StoredStream {
  records: StoredRecord[];
  sorted: boolean;
}

interface StoredCustomer {
  readonly assets: StoredStream;
  readonly transactions: StoredStream;
  providers: readonly SandboxProvider[] | null;
}

/** Makes an empty data set. */
export function createMemoryData(): MemoryData {
  const customers = new Map<string, StoredCustomer>();
  let lastSerial = 0;

  function customerOf(customerId: string): StoredCustomer {
    const customer = customers.get(customerId);
    if (customer === undefined) throw new Error(`The sandbox has no customer ${customerId}.`);
    return customer;
  }

  function addCustomer(customerId: string): StoredCustomer {
    const known = customers.get(customerId);
    if (known !== undefined) return known;
    const empty = (): StoredStream => ({ records: [], sorted: true });
    const customer: StoredCustomer = { assets: empty(), transactions: empty(), providers: null };
    customers.set(customerId, customer);
    return customer;
  }

  function inOrder(stream: StoredStream): readonly StoredRecord[] {
    if (!stream.sorted) stream.records.sort(compareKeys);
    stream.sorted = true;
    return stream.records;
  }

  return {
    customerIds: () => [...customers.keys()],
    hasCustomer: (customerId) => customers.has(customerId),
    providers: (customerId) => customerOf(customerId).providers ?? providersIn(customerOf(customerId)),
    count: (stream, customerId, filter = everyRecord) =>
      customerOf(customerId)[stream].records.filter((record) => passes(filter, record)).length,
    read: (stream, customerId, request) => sliceOf(inOrder(customerOf(customerId)[stream]), request),

    addCustomer: (customerId) => void addCustomer(customerId),
    removeCustomer: (customerId) => customers.delete(customerId),
    setProviders: (customerId, providers) => {
      customerOf(customerId).providers = providers;
    },
    add: (stream, customerId, ...records) => {
      const stored = addCustomer(customerId)[stream];
      for (const record of records) stored.records.push(store(stream, record, ++lastSerial));
      stored.sorted = false;
    },
    replace: (stream, customerId, id, replacement) => {
      const stored = customerOf(customerId)[stream];
      if (!stored.records.some((record) => record.id === id)) {
        throw new Error(`The sandbox has no ${stream} record ${id} of customer ${customerId}.`);
      }
      stored.records = stored.records.map((record) => {
        if (record.id !== id) return record;
        const next = typeof replacement === 'function' ? replacement(record.text) : replacement;
        return store(stream, next, record.serial);
      });
      stored.sorted = false;
    },
    remove: (stream, customerId, id) => {
      const stored = customerOf(customerId)[stream];
      const before = stored.records.length;
      stored.records = stored.records.filter((record) => record.id !== id);
      return before - stored.records.length;
    },
  };
}

function sliceOf(records: readonly StoredRecord[], { filter, after, limit }: RecordRequest): RecordSlice {
  const texts: string[] = [];
  let last: StoredRecord | null = null;
  for (
    let index = after === null ? 0 : firstAfter(records, keyAt(after));
    index < records.length;
    index += 1
  ) {
    const record = records[index];
    if (record === undefined || !passes(filter, record)) continue;
    if (last !== null && texts.length === limit) return { records: texts, nextPosition: positionOf(last) };
    texts.push(record.text);
    last = record;
  }
  return { records: texts, nextPosition: null };
}

/** Index of the first record behind a key, by bisection. */
function firstAfter(records: readonly StoredRecord[], key: SortKey): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const record = records[middle];
    if (record !== undefined && compareKeys(record, key) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function compareKeys(one: SortKey, other: SortKey): number {
  const byTime = (one.timeMs ?? -1) - (other.timeMs ?? -1);
  if (byTime !== 0) return byTime;
  if (one.id !== other.id) return one.id < other.id ? -1 : 1;
  return one.serial - other.serial;
}

function positionOf({ timeMs, id, serial }: SortKey): string {
  return JSON.stringify({ timeMs, id, serial });
}

/** A position is only ever one that `positionOf` made: the server signs what it hands out. */
function keyAt(position: string): SortKey {
  return JSON.parse(position) as SortKey;
}

function store(stream: SandboxStream, record: SandboxRecord, serial: number): StoredRecord {
  const text = typeof record === 'string' ? record : JSON.stringify(record);
  const fields = fieldsOf(text);
  const id = stringOr(fields[stream === 'assets' ? 'asset_symbol' : 'transaction_id'], '');
  const providerId = stringOr(fields['provider_id'], null);
  if (stream === 'assets') return { id, serial, text, providerId, timeMs: null, assetSymbols: [id] };
  const sides = [asFields(fields['input']), asFields(fields['output'])];
  const assetSymbols = sides
    .map((side) => stringOr(side['asset_symbol'], ''))
    .filter((symbol) => symbol !== '');
  return { id, serial, text, providerId, timeMs: timeOf(fields['timestamp']), assetSymbols };
}

function providersIn(customer: StoredCustomer): readonly SandboxProvider[] {
  const found = new Set<string>();
  for (const { providerId } of [...customer.assets.records, ...customer.transactions.records]) {
    if (providerId !== null) found.add(providerId);
  }
  return [...found].sort().map(providerOf);
}

function fieldsOf(text: string): Readonly<Record<string, unknown>> {
  try {
    return asFields(JSON.parse(text));
  } catch {
    return {};
  }
}

function asFields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function stringOr<Default>(value: unknown, otherwise: Default): string | Default {
  return typeof value === 'string' ? value : otherwise;
}

function timeOf(value: unknown): number | null {
  const timeMs = typeof value === 'string' ? Date.parse(value) : value;
  return typeof timeMs === 'number' && Number.isFinite(timeMs) ? timeMs : null;
}
