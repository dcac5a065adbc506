/** The two streams: what each reads, how a record becomes a row, and where the row goes. */
import { setImmediate } from 'node:timers/promises';
import type { Endpoint } from '../calico/contract.ts';
import type { Page } from '../calico/pages.ts';
import type { Transaction } from '../db/client.ts';
import {
  type ExistingPosition,
  keyOf as keyOfPosition,
  type PositionRow,
  positionsWriter,
} from '../db/positions.ts';
import type { StreamName } from '../db/schema-sync.ts';
import type { Problem } from '../db/set-aside.ts';
import {
  type ExistingTransaction,
  keyOf as keyOfTransaction,
  type PageOwner,
  type PageWriter,
  type TransactionRow,
  transactionsWriter,
  type Written,
} from '../db/transactions.ts';
import { normalizeAsset } from './normalize/assets.ts';
import type { Normalized } from './normalize/record.ts';
import { normalizeTransaction } from './normalize/transactions.ts';

/**
 * A record that is not written; `index` is its place in the page. `key` null: it could not be told.
 * `inConflict`: the key belongs to another record, which landed.
 */
export type Refused = { index: number; key: string | null; problems: Problem[]; inConflict: boolean };

/** A row-to-be, known by its place in the page and its key. */
export type Candidate = { index: number; key: string };

/** A page read: which records become rows, which are repeats, which are refused. */
export type PreparedPage = {
  duplicates: number;
  refused: Refused[];
  candidates: Candidate[];
  /** Every key that could be told, in the page's order, those of refused records too. */
  keys: string[];
  /** The latest time among the candidates; null where the stream's records have none. */
  latest: string | null;
  /**
   * Looks in one statement for what stands of some of `candidates`. What it returns writes them beside that; those of them
   * whose key an earlier page held for something else come back. Others may follow before its statements are `answered`.
   */
  look(tx: Transaction, owner: PageOwner, candidates: readonly Candidate[]): Promise<WriteCandidates>;
  /** What is wrong with a conflict, in words. */
  conflict: string;
};

export type WriteCandidates = () => Promise<StreamWritten>;
export type StreamWritten = Omit<Written, 'conflicts'> & { conflicts: Candidate[] };

export type Stream = {
  name: StreamName;
  endpoint: 'assets' | 'transactions';
  refreshEndpoint: Endpoint;
  /** Can a pass ask for what is new only? */
  hasWindow: boolean;
  /**
   * Reads a page, a few of its records at a time: in between whoever else waits for this thread has a turn.
   * `expectNew`: most rows will be new, so that what writes them is made at once.
   */
  prepare(page: Page, keepRaw: boolean, expectNew: boolean): Promise<PreparedPage>;
};

type StreamSpec<Row, Existing> = Omit<Stream, 'prepare'> & {
  normalize(record: unknown, keepRaw: boolean): Normalized<Row>;
  keyOf(row: Row): string;
  /** Two records of one pass with one key must agree in this, or they are two things (promise 7). */
  identityOf(row: Row): string;
  conflict: string;
  timeOf(row: Row): string | null;
  writer(rows: readonly Row[], expectNew: boolean): PageWriter<Existing>;
};

const assets = defineStream<PositionRow, ExistingPosition>({
  name: 'assets',
  endpoint: 'assets',
  refreshEndpoint: 'refreshAssets',
  hasWindow: false,
  normalize: normalizeAsset,
  keyOf: keyOfPosition,
  identityOf: (row) =>
    JSON.stringify([
      spelledOnce(row.quantity),
      spelledOnce(row.valueAmount),
      row.valueCurrency,
      spelledOnce(row.costBasisAmount),
      row.costBasisCurrency,
    ]),
  conflict: 'another position of this pass has the same key and another quantity, value or cost',
  timeOf: () => null,
  writer: positionsWriter,
});

const transactions = defineStream<TransactionRow, ExistingTransaction>({
  name: 'transactions',
  endpoint: 'transactions',
  refreshEndpoint: 'refreshTransactions',
  hasWindow: true,
  normalize: normalizeTransaction,
  keyOf: keyOfTransaction,
  identityOf: (row) => JSON.stringify([row.accountId, row.occurredAt, row.transactionHash]),
  conflict: 'another transaction of this pass has the same id and another account, time or hash',
  timeOf: (row) => row.occurredAt,
  writer: transactionsWriter,
});

/** As Postgres compares them: 7.40 is 7.4. */
function spelledOnce(decimal: string | null): string | null {
  return decimal?.includes('.') ? decimal.replace(/\.?0+$/, '') : decimal;
}

/** In the order in which a run reads them. */
export const STREAMS: readonly Stream[] = [assets, transactions];

function defineStream<Row, Existing>(spec: StreamSpec<Row, Existing>): Stream {
  return { ...spec, prepare: (page, keepRaw, expectNew) => prepare(spec, page.records, keepRaw, expectNew) };
}

/** Records that are read in one go: half a millisecond's work. A statement's answer that waits for a whole page waits for six. */
const AT_ONCE = 20;

/**
 * Normalizes a page's records. Of two with one key and one identity the last counts and the other is a duplicate; of
 * two with one key and another identity the second is refused.
 */
async function prepare<Row, Existing>(
  spec: StreamSpec<Row, Existing>,
  records: readonly unknown[],
  keepRaw: boolean,
  expectNew: boolean,
): Promise<PreparedPage> {
  const refused: Refused[] = [];
  const rows = new Map<string, { index: number; row: Row }>();
  let duplicates = 0;
  let latest: string | null = null;
  for (const [index, record] of records.entries()) {
    if (index > 0 && index % AT_ONCE === 0) await setImmediate();
    const normalized = spec.normalize(record, keepRaw);
    if (!('row' in normalized)) {
      refused.push({ index, ...normalized, inConflict: false });
      continue;
    }
    const { row } = normalized;
    const key = spec.keyOf(row);
    const first = rows.get(key);
    if (first && spec.identityOf(first.row) !== spec.identityOf(row)) {
      refused.push({ index, key, problems: [{ path: '', message: spec.conflict }], inConflict: true });
      continue;
    }
    if (first) duplicates++;
    rows.set(key, { index, row });
    const time = spec.timeOf(row);
    if (time !== null && (latest === null || time > latest)) latest = time;
  }
  const candidates = [...rows].map(([key, { index }]) => ({ index, key }));
  const rowsOf = (some: readonly Candidate[]) => some.flatMap(({ key }) => rows.get(key)?.row ?? []);
  const whole = spec.writer(rowsOf(candidates), expectNew);
  const inOrder = [...candidates, ...refused].toSorted((one, other) => one.index - other.index);
  return {
    duplicates,
    refused,
    candidates,
    keys: inOrder.flatMap(({ key }) => key ?? []),
    latest,
    conflict: spec.conflict,
    look: async (tx, owner, chosen) => {
      const writer = chosen === candidates ? whole : spec.writer(rowsOf(chosen), false);
      const existing = await writer.find(tx, owner.customerId);
      return async () => {
        const written = await writer.write(tx, owner, existing);
        return { ...written, conflicts: written.conflicts.flatMap((at) => chosen[at] ?? []) };
      };
    },
  };
}
