/** The six transaction tables and their fees, written a page at a time. */
import type { Transaction } from './client.ts';
import {
  type ChangedTransaction,
  type ExistingTransaction,
  findTransactions,
  refuseKnown,
  type Standing,
  soughtElsewhere,
} from './find-transactions.ts';
import { seenInWalk } from './passes.ts';
import { TRANSACTION_KINDS, type TransactionKind, transactionFees, transactionTables } from './schema.ts';
import { type Batch, batchOf, insert, upsert } from './upsert.ts';

/** What all six kinds have, and the sides that some have; absent is null. `raw` is JSON text, `contentHash` is `\x…`. */
export type TransactionRow = {
  kind: TransactionKind;
  providerId: string;
  transactionId: string;
  accountId: string | null;
  occurredAt: string;
  category: string | null;
  subcategory: string | null;
  inputAssetSymbol?: string | null;
  inputContractAddress?: string | null;
  inputAmount?: string | null;
  inputValueAmount?: string | null;
  inputValueCurrency?: string | null;
  outputAssetSymbol?: string | null;
  outputContractAddress?: string | null;
  outputAmount?: string | null;
  outputValueAmount?: string | null;
  outputValueCurrency?: string | null;
  fromAddress?: string | null;
  toAddress?: string | null;
  transactionHash: string | null;
  network: string | null;
  description: string | null;
  raw: string | null;
  contentHash: string;
  /** Made when they are asked for: they are written with their transaction, and most of those are unchanged. */
  fees: () => FeeRow[];
};

export type FeeRow = {
  position: number;
  feeType: string | null;
  assetSymbol: string;
  amount: string;
  valueAmount: string | null;
  valueCurrency: string | null;
  raw: string | null;
  contentHash: string;
};

/** Whose page it is, in which walk of which pass: every row carries the run that last changed it. */
export type PageOwner = { customerId: string; runId: string; passRunId: string; walk: number };

/**
 * What becomes of a page's rows. `conflicts`: indexes of rows that are not written (promise 7). Its statements are on their
 * way, so that others can go with them; it is true once `answered` resolves, and whoever has it must wait for that.
 */
export type Written = {
  inserted: number;
  updated: number;
  unchanged: number;
  conflicts: number[];
  answered: Promise<unknown>;
};

/**
 * A page's rows, ready to be written: first it is looked at what stands of their keys, in one statement, then they are written beside it.
 * `writeNew`, where most likely nothing stands: writes them as if that were known, without an answer in between. Where it is not so the
 * transaction fails, with NotNewError if one is in another home, else as Postgres refuses a key that is taken.
 */
export type PageWriter<Existing> = {
  find(tx: Transaction, customerId: string): Promise<Standing<Existing>>;
  write(tx: Transaction, owner: PageOwner, existing: Standing<Existing>): Promise<Written>;
  writeNew: ((tx: Transaction, owner: PageOwner) => Written) | null;
};

/**
 * Writes a page's transactions, each key at most once in `rows`. Unchanged rows are not touched; a transaction whose kind changed
 * moves, with its `first_seen_at`; one that was marked removed and is back is live again.
 * A row whose key another record of the same walk holds with another account, time or hash is not written: it is
 * returned as a conflict.
 * `expectNew`: all rows are likely to be new, so that what writes them as such is made at once.
 */
export function transactionsWriter(
  rows: readonly TransactionRow[],
  expectNew: boolean,
): PageWriter<ExistingTransaction> {
  const allNew = expectNew ? { sought: soughtElsewhere(rows), ...batchesOf(rows) } : null;
  return {
    find: (tx, customerId) => findTransactions(tx, customerId, rows),
    write: (tx, owner, existing) => writeTransactions(tx, owner, rows, existing),
    writeNew:
      allNew &&
      ((tx, owner) => {
        const answered = Promise.all([
          refuseKnown(tx, owner.customerId, allNew.sought),
          insert(tx, owner, [...allNew.kinds, allNew.fees]),
        ]);
        return { inserted: rows.length, updated: 0, unchanged: 0, conflicts: [], answered };
      }),
  };
}

async function writeTransactions(
  tx: Transaction,
  owner: PageOwner,
  rows: readonly TransactionRow[],
  existing: Standing<ExistingTransaction>,
): Promise<Written> {
  const suspects = [...existing].flatMap(([at, old]) => (!old.unchanged && old.otherIdentity ? [at] : []));
  const walk = { ...owner, stream: 'transactions' } as const;
  const conflicts = await seenInWalk(tx, walk, suspects, (index) => keyOf(rows[index]));
  const conflicting = new Set(conflicts);

  const written = { inserted: 0, updated: 0, unchanged: 0, conflicts };
  const changed: Changed[] = [];
  for (const [index, row] of rows.entries()) {
    const old = existing.get(index);
    if (conflicting.has(index)) continue;
    if (old?.unchanged) written.unchanged++;
    else {
      if (old) written.updated++;
      else written.inserted++;
      changed.push({ row, old });
    }
  }
  const { kinds, fees } = batchesOf(changed.map(asWritten));
  const answered = Promise.all([
    ...TRANSACTION_KINDS.map((kind) => {
      const leaving = changed.filter(({ row, old }) => old?.kind === kind && row.kind !== kind);
      return deleteFrom(tx, kind, owner.customerId, leaving);
    }),
    ...kinds.map((batch) => upsert(tx, owner, batch)),
    deleteSpareFees(tx, owner.customerId, changed),
    upsert(tx, owner, fees),
  ]);
  return { ...written, answered };
}

type Changed = { row: TransactionRow; old: ChangedTransaction | undefined };

/** Without `firstSeenAt` the column's default, now(). */
const asWritten = ({ row, old }: Changed) => (old ? { ...row, firstSeenAt: old.firstSeenAt } : row);

type Batches = { kinds: Batch[]; fees: Batch };

function batchesOf(rows: readonly (TransactionRow & { firstSeenAt?: string })[]): Batches {
  return {
    kinds: TRANSACTION_KINDS.map((kind) =>
      batchOf(
        transactionTables[kind],
        rows.filter((row) => row.kind === kind),
      ),
    ),
    fees: batchOf(
      transactionFees,
      rows.flatMap(({ providerId, transactionId, fees }) =>
        fees().map((fee) => ({ ...fee, providerId, transactionId })),
      ),
    ),
  };
}

/** The key of a transaction in `sync_pages` and in quarantine; JSON, so that no part runs into the next. */
export function keyOf(row: Pick<TransactionRow, 'providerId' | 'transactionId'> | undefined): string {
  return row ? JSON.stringify([row.providerId, row.transactionId]) : '';
}

async function deleteFrom(
  tx: Transaction,
  kind: TransactionKind,
  customerId: string,
  leaving: readonly Changed[],
): Promise<void> {
  if (leaving.length === 0) return;
  const text = `DELETE FROM calico.${kind}_transactions t
    USING unnest($2::text[], $3::text[]) AS u(provider_id, transaction_id)
    WHERE t.customer_id = $1 AND t.provider_id = u.provider_id AND t.transaction_id = u.transaction_id`;
  const keys = [leaving.map(({ row }) => row.providerId), leaving.map(({ row }) => row.transactionId)];
  await tx.query(`delete_${kind}`, text, [customerId, ...keys]);
}

/** Fees belong to their transaction's content: they are written with it, and those it no longer lists go. */
async function deleteSpareFees(
  tx: Transaction,
  customerId: string,
  changed: readonly Changed[],
): Promise<void> {
  const rewritten = changed.filter(({ old }) => old !== undefined).map(({ row }) => row);
  if (rewritten.length === 0) return;
  const text = `DELETE FROM calico.transaction_fees f
    USING unnest($2::text[], $3::text[], $4::int[]) AS u(provider_id, transaction_id, fees)
    WHERE f.customer_id = $1 AND f.provider_id = u.provider_id AND f.transaction_id = u.transaction_id
      AND f.position >= u.fees`;
  const keys = [rewritten.map((row) => row.providerId), rewritten.map((row) => row.transactionId)];
  await tx.query('delete_fees', text, [customerId, ...keys, rewritten.map((row) => row.fees().length)]);
}
