/** What a pass under way has seen: the keys of its pages, as 64-bit hashes. */
import type { Transaction } from './client.ts';
import type { StreamName } from './schema-sync.ts';

/**
 * Records a committed page's keys under its cursor.
 * @returns false where this pass has been at that cursor before: the pages run in a circle.
 */
export async function recordPage(
  tx: Transaction,
  passRunId: string,
  stream: StreamName,
  page: number,
  cursor: string | null,
  keys: readonly string[],
): Promise<boolean> {
  const text = `INSERT INTO calico.sync_pages (pass_run_id, stream, page, cursor, key_hashes)
    SELECT $1, $2, $3, $4, coalesce(array_agg(hashtextextended(key, 0)), '{}') FROM unnest($5::text[]) AS key
    ON CONFLICT (pass_run_id, stream, md5(cursor)) DO NOTHING RETURNING page`;
  const rows = await tx.query('record_page', text, [passRunId, stream, page, cursor ?? '', keys]);
  return rows.length === 1;
}

/**
 * Which of `indexes` stand for a key that an earlier page of this pass held. Reads all of the pass's pages, so it is
 * asked only about records that look wrong; does nothing for none.
 */
export async function seenInPass(
  tx: Transaction,
  passRunId: string,
  stream: StreamName,
  indexes: readonly number[],
  keyOf: (index: number) => string,
): Promise<number[]> {
  if (indexes.length === 0) return [];
  const text = `SELECT i.index FROM unnest($3::int[], $4::text[]) AS i(index, key)
    WHERE EXISTS (SELECT FROM calico.sync_pages p WHERE p.pass_run_id = $1 AND p.stream = $2
      AND hashtextextended(i.key, 0) = ANY (p.key_hashes))
    ORDER BY i.index`;
  const values = [passRunId, stream, indexes, indexes.map(keyOf)];
  const rows = await tx.query<{ index: number }>('seen_in_pass', text, values);
  return rows.map(({ index }) => index);
}

/** Forgets the pages of a pass that is no stream's: one that somebody made up to have its keys looked at. */
export async function forgetPass(tx: Transaction, passRunId: string): Promise<void> {
  await tx.query('forget_pass', 'DELETE FROM calico.sync_pages WHERE pass_run_id = $1', [passRunId]);
}
