/**
 * Which live rows a full pass did not see, and marking them removed (promise 6). What is to go is written to
 * `held_removal_rows` first, then removed from there: at once, or when a person approves.
 */
import { and, eq } from 'drizzle-orm';
import type { Orm, Transaction } from './client.ts';
import { TRANSACTION_KINDS } from './schema.ts';
import { KEY_COLUMNS, type StreamName, syncRunStreams } from './schema-sync.ts';

/** Whose rows of which stream. */
export type StreamOwner = { customerId: string; stream: StreamName };

const TABLES: Record<StreamName, readonly string[]> = {
  assets: ['asset_positions'],
  transactions: TRANSACTION_KINDS.map((kind) => `${kind}_transactions`),
};

/** The live rows of customer $1, each with its key's parts in the order of `keyOf`. */
const liveRows = (stream: StreamName) =>
  TABLES[stream]
    .map(
      (table) =>
        `SELECT ARRAY[${KEY_COLUMNS[stream].join(', ')}] AS key FROM calico.${table} WHERE customer_id = $1 AND removed_at IS NULL`,
    )
    .join('\n  UNION ALL ');

export async function countLiveRows(tx: Transaction, { customerId, stream }: StreamOwner): Promise<number> {
  const text = `SELECT count(*)::int AS live FROM (${liveRows(stream)}) AS live`;
  const [row] = await tx.query<{ live: number }>(`count_live_${stream}`, text, [customerId]);
  return row?.live ?? 0;
}

/**
 * The live rows of customer $1 that pass $3 did not see of stream $2, without those whose removal was rejected. Postgres
 * spells a key's JSON as `keyOf` does, so its hash is the page's. One grouping of everything by hash, because
 * that takes linear time whatever the planner believes: a join of a million rows with a million hashes, planned for
 * ten, would not end.
 */
const missingRows = (stream: StreamName) => `
  SELECT hash, min(key) AS key FROM (
    SELECT hashtextextended(to_json(key)::text, 0) AS hash, key FROM (
  ${liveRows(stream)}) AS live
    UNION ALL SELECT unnest(key_hashes), NULL FROM calico.sync_pages WHERE pass_run_id = $3::uuid AND stream = $2
    UNION ALL SELECT key_hash, NULL FROM calico.held_removal_rows WHERE customer_id = $1 AND stream = $2
      AND hold_id IN (SELECT hold_id FROM calico.held_removals
        WHERE customer_id = $1 AND stream = $2 AND rejected_at IS NOT NULL)
  ) AS hashes GROUP BY hash HAVING bool_and(key IS NOT NULL)`;

/** Is there a live row that the pass has not seen? */
export async function isAnyMissing(
  tx: Transaction,
  { customerId, stream }: StreamOwner,
  passRunId: string,
): Promise<boolean> {
  const text = `SELECT FROM (${missingRows(stream)}) AS missing LIMIT 1`;
  return (await tx.query(`missing_${stream}`, text, [customerId, stream, passRunId])).length > 0;
}

const stageMissing = (stream: StreamName) => `
WITH staged AS (
  INSERT INTO calico.held_removal_rows (hold_id, customer_id, stream, key_hash, record_key)
  SELECT $4::uuid, $1::text, $2::text, hash, key FROM (${missingRows(stream)}) AS missing
  RETURNING 1
)
SELECT count(*)::int AS missing FROM staged`;

/** Writes the live rows that the pass did not see under `holdId`; returns how many. Asked before the record of its pages goes. */
export async function stageMissingRows(
  tx: Transaction,
  { customerId, stream }: StreamOwner,
  passRunId: string,
  holdId: string,
): Promise<number> {
  const values = [customerId, stream, passRunId, holdId];
  const [row] = await tx.query<{ missing: number }>(`stage_${stream}`, stageMissing(stream), values);
  return row?.missing ?? 0;
}

/**
 * What became of a row after it was written down is respected: one that changed since stays. `removed_at` is asked for
 * in a way that no partial index answers, or a plan might read all of a customer's live rows for each row to go.
 */
const markRemoved = (table: string, key: readonly string[]) => `
  UPDATE calico.${table} t SET removed_at = now(), last_changed_at = now(), last_run_id = $3
  FROM calico.held_removal_rows r WHERE r.hold_id = $2 AND t.customer_id = $1
    AND ${key.map((column, index) => `t.${column} = r.record_key[${index + 1}]`).join(' AND ')}
    AND t.last_changed_at <= r.held_at AND coalesce(t.removed_at, 'infinity') = 'infinity'
  RETURNING ${key.map((column) => `t.${column}`).join(', ')}`;

const isOf = (alias: string, key: readonly string[]) =>
  `${alias}.customer_id = $1 AND ${key.map((column) => `${alias}.${column} = marked.${column}`).join(' AND ')}`;

/** With a position its open history row ends, with a transaction its fees go. */
const FOLLOWERS: Record<StreamName, string> = {
  assets: `UPDATE calico.asset_position_history h SET valid_to = now() FROM marked
  WHERE ${isOf('h', KEY_COLUMNS.assets)} AND h.valid_to IS NULL`,
  transactions: `UPDATE calico.transaction_fees f SET removed_at = now(), last_changed_at = now(), last_run_id = $3
  FROM marked WHERE ${isOf('f', KEY_COLUMNS.transactions)}`,
};

const removeStaged = (stream: StreamName) => `
WITH ${TABLES[stream].map((table) => `${table} AS (${markRemoved(table, KEY_COLUMNS[stream])}\n)`).join(', ')},
marked AS (${TABLES[stream].map((table) => `SELECT * FROM ${table}`).join(' UNION ALL ')}),
followers AS (${FOLLOWERS[stream]})
SELECT count(*)::int AS removed FROM marked`;

/** Marks the rows under `holdId` removed and forgets them there; returns how many were. */
export async function removeStagedRows(
  tx: Transaction,
  { customerId, stream }: StreamOwner,
  holdId: string,
  runId: string,
): Promise<number> {
  const values = [customerId, holdId, runId];
  const [row] = await tx.query<{ removed: number }>(`remove_${stream}`, removeStaged(stream), values);
  await forgetRows(tx, holdId);
  return row?.removed ?? 0;
}

export async function forgetRows(tx: Transaction, holdId: string): Promise<void> {
  await tx.query('forget_held', 'DELETE FROM calico.held_removal_rows WHERE hold_id = $1', [holdId]);
}

/** Adds to a run's receipt what became of the rows that its pass did not see. */
export async function noteRemovals(
  orm: Orm,
  runId: string,
  stream: StreamName,
  seen: Partial<Pick<typeof syncRunStreams.$inferSelect, 'removed' | 'held' | 'removalNote'>>,
): Promise<void> {
  await orm
    .update(syncRunStreams)
    .set(seen)
    .where(and(eq(syncRunStreams.runId, runId), eq(syncRunStreams.stream, stream)));
}
