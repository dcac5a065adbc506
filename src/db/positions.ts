/** Asset positions and their history, written a page at a time. */
import type { Transaction } from './client.ts';
import { type Standing, storedHash } from './find-transactions.ts';
import { seenInWalk } from './passes.ts';
import { assetPositionHistory, assetPositions } from './schema.ts';
import { KEY_COLUMNS } from './schema-sync.ts';
import type { PageOwner, PageWriter, Written } from './transactions.ts';
import { batchOf, type RowOf, upsert } from './upsert.ts';

/** One position. Absent parts of the key are ''; `raw` is JSON text, `contentHash` is `\x…`. */
export type PositionRow = {
  providerId: string;
  accountId: string;
  assetSymbol: string;
  network: string;
  contractAddress: string;
  quantity: string;
  valueAmount: string | null;
  valueCurrency: string | null;
  costBasisAmount: string | null;
  costBasisCurrency: string | null;
  asOf: string | null;
  raw: string | null;
  contentHash: string;
};

/** A position that is there already, beside the record of the same key. */
export type ExistingPosition = {
  ord: number;
  same: boolean;
  sameState: boolean;
  firstSeenAt: string;
  removed: boolean;
};

const KEY = KEY_COLUMNS.assets;
const STATE = ['quantity', 'value_amount', 'value_currency', 'cost_basis_amount', 'cost_basis_currency'];
const tuple = (alias: string, columns: readonly string[]) =>
  `(${columns.map((column) => `${alias}.${column}`).join(', ')})`;

const FIND_EXISTING = `
SELECT i.ord::int, ${storedHash('p')} = ${storedHash('i')} AND (p.raw IS NOT NULL OR NOT $13) AS same,
  ${tuple('p', STATE)} IS NOT DISTINCT FROM ${tuple('i', STATE)} AS "sameState",
  p.first_seen_at::text AS "firstSeenAt", p.removed_at IS NOT NULL AS removed
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::numeric[], $8::numeric[], $9::text[], $10::numeric[], $11::text[], $12::bytea[])
  WITH ORDINALITY AS i(${[...KEY, ...STATE].join(', ')}, content_hash, ord)
JOIN calico.asset_positions p ON p.customer_id = $1 AND ${tuple('p', KEY)} = ${tuple('i', KEY)}`;

const CLOSE_HISTORY = `
UPDATE calico.asset_position_history h SET valid_to = now()
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) AS i(${KEY.join(', ')})
WHERE h.customer_id = $1 AND ${tuple('h', KEY)} = ${tuple('i', KEY)} AND h.valid_to IS NULL`;

/**
 * Writes a page's positions, each key at most once in `rows`. A new state (quantity, value or cost) ends the old one in
 * the history; a new `as_of` alone only moves the current row. A key that an earlier page of the same walk held in
 * another state is not written: it is returned as a conflict.
 */
export function positionsWriter(rows: readonly PositionRow[]): PageWriter<ExistingPosition> {
  return {
    find: (tx, customerId) => findPositions(tx, customerId, rows),
    write: (tx, owner, existing) => writePositions(tx, owner, rows, existing),
    writeNew: null,
  };
}

async function writePositions(
  tx: Transaction,
  owner: PageOwner,
  rows: readonly PositionRow[],
  existing: Standing<ExistingPosition>,
): Promise<Written> {
  const suspects = rows.flatMap((_row, index) => (existing.get(index)?.sameState === false ? [index] : []));
  const walk = { ...owner, stream: 'assets' } as const;
  const conflicts = await seenInWalk(tx, walk, suspects, (index) => keyOf(rows[index]));
  const conflicting = new Set(conflicts);

  const written = { inserted: 0, updated: 0, unchanged: 0, conflicts };
  const changed: RowOf<typeof assetPositions>[] = [];
  const newStates: PositionRow[] = [];
  for (const [index, row] of rows.entries()) {
    const old = existing.get(index);
    if (conflicting.has(index)) continue;
    if (old?.same && !old.removed) {
      written.unchanged++;
      continue;
    }
    if (old) written.updated++;
    else written.inserted++;
    // Without it the column's default, now().
    changed.push(old ? { ...row, firstSeenAt: old.firstSeenAt } : row);
    if (!old?.sameState || old.removed) newStates.push(row);
  }

  const closed = [owner.customerId, ...keyArrays(newStates)];
  const answered = Promise.all([
    upsert(tx, owner, batchOf(assetPositions, changed)),
    newStates.length > 0 && tx.query('close_history', CLOSE_HISTORY, closed),
    upsert(tx, owner, batchOf(assetPositionHistory, newStates)),
  ]);
  return { ...written, answered };
}

export type PositionKey = Pick<
  PositionRow,
  'providerId' | 'accountId' | 'assetSymbol' | 'network' | 'contractAddress'
>;

/** The key of a position in `sync_pages` and in quarantine; JSON, so that no part runs into the next. */
export function keyOf(row: PositionKey | undefined): string {
  if (!row) return '';
  return JSON.stringify([row.providerId, row.accountId, row.assetSymbol, row.network, row.contractAddress]);
}

async function findPositions(
  tx: Transaction,
  customerId: string,
  rows: readonly PositionRow[],
): Promise<Standing<ExistingPosition>> {
  const found = await tx.query<ExistingPosition>('find_positions', FIND_EXISTING, [
    customerId,
    ...keyArrays(rows),
    rows.map((row) => row.quantity),
    rows.map((row) => row.valueAmount),
    rows.map((row) => row.valueCurrency),
    rows.map((row) => row.costBasisAmount),
    rows.map((row) => row.costBasisCurrency),
    rows.map((row) => row.contentHash),
    rows.some(({ raw }) => raw !== null),
  ]);
  return new Map(found.map((row) => [row.ord - 1, row]));
}

const keyArrays = (rows: readonly PositionRow[]) => [
  rows.map((row) => row.providerId),
  rows.map((row) => row.accountId),
  rows.map((row) => row.assetSymbol),
  rows.map((row) => row.network),
  rows.map((row) => row.contractAddress),
];
