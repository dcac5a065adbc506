/** What a pass under way has seen: the keys of its pages, as 64-bit hashes. */
import type { Transaction } from './client.ts';
import { isTaken } from './errors.ts';
import type { StreamName } from './schema-sync.ts';
import { arrayOf, lines } from './upsert.ts';

/** One walk of a pass, from the first page on. */
export type Walk = { passRunId: string; stream: StreamName; walk: number };

/** A committed page. `head`: of a walk's first page, all its keys in its order. */
export type PageSeen = {
  page: number;
  cursor: string | null;
  keys: readonly string[];
  head: readonly string[] | null;
};

const ONE_OF_A_CURSOR = 'sync_pages_cursor';

/** Of keys that came as lines (upsert.ts). */
const hashesOf = (parameter: string) =>
  `ARRAY(SELECT hashtextextended(key, 0) FROM unnest(${arrayOf(parameter)}) WITH ORDINALITY AS k(key, ord) ORDER BY ord)`;

/** A walk has come to a cursor where it has been before: the pages run in a circle. */
export class CircleError extends Error {
  constructor() {
    super('the pages run in a circle: a cursor came back that this pass has been at');
    this.name = 'CircleError';
  }
}

/**
 * Records a committed page's keys under its cursor.
 * @throws CircleError, and the statement fails.
 */
export async function recordPage(
  tx: Transaction,
  { passRunId, stream, walk }: Walk,
  { page, cursor, keys, head }: PageSeen,
): Promise<void> {
  const text = `INSERT INTO calico.sync_pages (pass_run_id, stream, walk, page, cursor, key_hashes, head_hashes)
    SELECT $1, $2, $3, $4, $5, ${hashesOf('$6')}, CASE WHEN $7::text IS NOT NULL THEN ${hashesOf('$7')} END`;
  const seen = [lines(keys), head && lines(head)];
  const meaning = (error: unknown) => (isTaken(error, ONE_OF_A_CURSOR) ? new CircleError() : null);
  await tx.query('record_page', text, [passRunId, stream, walk, page, cursor ?? '', ...seen], meaning);
}

/** A walk's first page and another look at it, each its keys' hashes in order. */
export type Heads = { before: readonly string[]; now: readonly string[] };

/** The first page of a walk that is over, beside `keys`, which are those of that page now. */
export async function readHeads(
  tx: Transaction,
  { passRunId, stream, walk }: Walk,
  keys: readonly string[],
): Promise<Heads> {
  const text = `SELECT coalesce(max(head_hashes), '{}')::text[] AS before, ${hashesOf('$4')}::text[] AS now
    FROM calico.sync_pages WHERE pass_run_id = $1 AND stream = $2 AND walk = $3 AND cursor = ''`;
  const [heads] = await tx.query<Heads>('read_heads', text, [passRunId, stream, walk, lines(keys)]);
  return heads ?? { before: [], now: [] };
}

/**
 * Did this walk see the same keys as the one before it, but for new ones on its first page, or where and behind the last
 * that both saw? That is where new records stand, whichever way Calico sorts them; they may come at any time, and a customer
 * who always has some would never be at rest.
 */
export async function sawTheSame(tx: Transaction, { passRunId, stream, walk }: Walk): Promise<boolean> {
  const text = `WITH keys AS (
      SELECT walk, page, cursor = '' AS is_head, unnest(key_hashes) AS hash FROM calico.sync_pages
      WHERE pass_run_id = $1 AND stream = $2 AND walk IN ($3::int, $3::int - 1)
    ), seen AS (
      SELECT min(walk) AS first, max(walk) AS last, max(page) AS page, bool_or(is_head) AS is_head FROM keys GROUP BY hash
    )
    SELECT FROM seen WHERE first = last AND (first = $3
      AND (is_head OR page >= (SELECT max(page) FROM seen WHERE first < last))) IS NOT TRUE
    LIMIT 1`;
  return (await tx.query('saw_the_same', text, [passRunId, stream, walk])).length === 0;
}

/**
 * Which of `indexes` stand for a key that an earlier page of this walk held; what an earlier walk held may have changed
 * since. Reads all of the walk's pages, so it is asked only about records that look wrong; does nothing for none.
 */
export async function seenInWalk(
  tx: Transaction,
  { passRunId, stream, walk }: Walk,
  indexes: readonly number[],
  keyOf: (index: number) => string,
): Promise<number[]> {
  if (indexes.length === 0) return [];
  const text = `SELECT i.index FROM unnest($4::int[], $5::text[]) AS i(index, key)
    WHERE EXISTS (SELECT FROM calico.sync_pages p WHERE p.pass_run_id = $1 AND p.stream = $2 AND p.walk = $3
      AND hashtextextended(i.key, 0) = ANY (p.key_hashes))
    ORDER BY i.index`;
  const values = [passRunId, stream, walk, indexes, indexes.map(keyOf)];
  const rows = await tx.query<{ index: number }>('seen_in_walk', text, values);
  return rows.map(({ index }) => index);
}

/** Forgets the pages of a pass that is no stream's: one that somebody made up to have its keys looked at. */
export async function forgetPass(tx: Transaction, passRunId: string): Promise<void> {
  await tx.query('forget_pass', 'DELETE FROM calico.sync_pages WHERE pass_run_id = $1', [passRunId]);
}
