/** The differences from the contract that were found so far. */
import { asc, gt, sql } from 'drizzle-orm';
import type { Orm } from './client.ts';
import { contractDrift } from './schema-drift.ts';

export type DriftSeen = Omit<typeof contractDrift.$inferInsert, 'firstSeenAt' | 'lastSeenAt' | 'firstRunId'>;
export type KnownDrift = typeof contractDrift.$inferSelect;

/**
 * Counts differences that are known and adds those that are not, at most `most` an endpoint: those beyond are counted
 * together in its row of kind `more`. One statement; rows in the order of their key, so that two of it never deadlock.
 */
export async function addDrift(
  orm: Orm,
  runId: string,
  most: number,
  seen: readonly DriftSeen[],
): Promise<void> {
  const column = (name: keyof DriftSeen) => sql.param(seen.map((drift) => drift[name] ?? null));
  await orm.execute(sql`
    WITH seen AS (
      SELECT endpoint, path, kind, coalesce(detail, '') AS detail, sum(count) AS count, min(sample) AS sample
      FROM unnest(${column('endpoint')}::text[], ${column('path')}::text[], ${column('kind')}::text[],
        ${column('detail')}::text[], ${column('count')}::bigint[], ${column('sample')}::text[])
        AS s (endpoint, path, kind, detail, count, sample)
      GROUP BY 1, 2, 3, 4
    ), placed AS (
      SELECT s.*, d.endpoint IS NOT NULL AS known,
        row_number() OVER (PARTITION BY s.endpoint, d.endpoint IS NULL ORDER BY s.path, s.kind, s.detail)
          + (SELECT count(*) FROM calico.contract_drift AS o WHERE o.endpoint = s.endpoint AND o.kind <> 'more') AS place
      FROM seen AS s LEFT JOIN calico.contract_drift AS d USING (endpoint, path, kind, detail)
    ), kept AS (
      SELECT endpoint, count, known OR place <= ${most} OR kind = 'more' AS fits, path, kind, detail, sample FROM placed
    )
    INSERT INTO calico.contract_drift (endpoint, path, kind, detail, count, sample, first_run_id)
    SELECT endpoint, CASE WHEN fits THEN path ELSE '' END, CASE WHEN fits THEN kind ELSE 'more' END,
      CASE WHEN fits THEN detail ELSE '' END, sum(count), min(sample) FILTER (WHERE fits), ${runId}::uuid
    FROM kept GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (endpoint, path, kind, detail) DO UPDATE SET last_seen_at = now(),
      count = contract_drift.count + excluded.count, sample = coalesce(contract_drift.sample, excluded.sample)`);
}

/**
 * What the last seven days showed, by endpoint and path. What is older has ended, at Calico or by a correction of the
 * contract; it stays in the table.
 */
export async function listDrift(orm: Orm): Promise<KnownDrift[]> {
  const { endpoint, path, kind, detail } = contractDrift;
  return orm
    .select()
    .from(contractDrift)
    .where(gt(contractDrift.lastSeenAt, sql`now() - interval '7 days'`))
    .orderBy(asc(endpoint), asc(path), asc(kind), asc(detail));
}
