/** The two streams: what each reads, how a record becomes a row, and where the row goes. */
import type { Endpoint } from '../calico/contract.ts';
import type { Page } from '../calico/pages.ts';
import {
  type ExistingTransaction,
  glanceAtTransactions,
  type TransactionGlance,
} from '../db/find-transactions.ts';
import {
  type ExistingPosition,
  keyOf as keyOfPosition,
  type PositionRow,
  positionsWriter,
} from '../db/positions.ts';
import type { StreamName } from '../db/schema-sync.ts';
import { keyOf as keyOfTransaction, type TransactionRow, transactionsWriter } from '../db/transactions.ts';
import { normalizeAsset } from './normalize/assets.ts';
import { glanceAtTransaction, normalizeTransaction } from './normalize/transactions.ts';
import { type GlancedPage, glance, type PreparedPage, prepare, type RowSpec } from './prepare.ts';

export type Stream = {
  name: StreamName;
  endpoint: 'assets' | 'transactions';
  refreshEndpoint: Endpoint;
  /** Can a pass ask for what is new only? */
  hasWindow: boolean;
  /**
   * Reads a page, a few of its records at a time: in between whoever else waits for this thread has a turn.
   * `expectNew`: all rows are likely to be new.
   */
  prepare(page: Page, keepRaw: boolean, expectNew: boolean): Promise<PreparedPage>;
  /** The same, where most records are likely to stand as they came; null where they cannot be told by their keys and texts. */
  glance(page: Page, keepRaw: boolean): GlancedPage | null;
};

type StreamSpec<Row, Existing, Key> = Omit<Stream, 'prepare' | 'glance'> & RowSpec<Row, Existing, Key>;

const assets = defineStream<PositionRow, ExistingPosition, never>({
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
  glance: null,
});

const transactions = defineStream<TransactionRow, ExistingTransaction, TransactionGlance>({
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
  glance: { keyOf: glanceAtTransaction, toText: keyOfTransaction, find: glanceAtTransactions },
});

/** As Postgres compares them: 7.40 is 7.4. */
function spelledOnce(decimal: string | null): string | null {
  return decimal?.includes('.') ? decimal.replace(/\.?0+$/, '') : decimal;
}

/** In the order in which a run reads them. */
export const STREAMS: readonly Stream[] = [assets, transactions];

function defineStream<Row, Existing, Key>(spec: StreamSpec<Row, Existing, Key>): Stream {
  return {
    ...spec,
    prepare: (page, keepRaw, expectNew) => prepare(spec, page, keepRaw, expectNew),
    glance: (page, keepRaw) => glance(spec, page, keepRaw),
  };
}
