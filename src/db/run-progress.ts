/** How the runs that a request caused are getting on: what `sync --wait` and the demo show. */
import { sql } from 'drizzle-orm';
import type { Orm } from './client.ts';
import type { RunStatus } from './statuses.ts';

export type RunProgress = { customers: number; ended: number; pages: number; records: number };

/**
 * Customers asked for (null: every active one) and, of each, the latest run that began at `since` or later: a run that
 * was under way by then does not count, the request is taken up by the next. A customer that stopped without one has
 * ended too.
 */
const asked = (customerIds: readonly string[] | null, since: Date) => sql`
  SELECT c.customer_id, c.status AS customer_status, c.status_reason, r.run_id, r.status, r.reason
  FROM calico.customers c
  LEFT JOIN LATERAL (
    SELECT run_id, status, reason FROM calico.sync_runs
    WHERE customer_id = c.customer_id AND started_at >= ${since.toISOString()}::timestamptz
    ORDER BY started_at DESC LIMIT 1
  ) r ON true
  WHERE ${customerIds === null ? sql`c.status = 'active' OR r.run_id IS NOT NULL` : sql`c.customer_id = ANY (${sql.param([...customerIds])}::text[])`}`;

const hasEnded = sql`CASE WHEN run_id IS NULL THEN customer_status <> 'active' ELSE status NOT IN ('running', 'waiting', 'abandoned') END`;

export async function readProgress(
  orm: Orm,
  customerIds: readonly string[] | null,
  since: Date,
): Promise<RunProgress> {
  const { rows } = await orm.execute<RunProgress>(sql`
    WITH asked AS (${asked(customerIds, since)})
    SELECT count(*)::int AS customers, (count(*) FILTER (WHERE ${hasEnded}))::int AS ended,
      coalesce(sum(pages), 0)::int AS pages, coalesce(sum(records), 0)::int AS records
    FROM asked LEFT JOIN LATERAL (
      SELECT sum(pages) AS pages, sum(fetched) AS records FROM calico.sync_run_streams s WHERE s.run_id = asked.run_id
    ) receipts ON true`);
  return rows[0] ?? { customers: 0, ended: 0, pages: 0, records: 0 };
}

/** How one customer's run ended; `status` null: it stopped before a run began. */
export type RunResult = {
  customerId: string;
  runId: string | null;
  status: RunStatus | null;
  reason: string | null;
};

/** The same customers' results, the ones that did not succeed first. */
export async function readResults(
  orm: Orm,
  customerIds: readonly string[] | null,
  since: Date,
): Promise<RunResult[]> {
  const { rows } = await orm.execute<RunResult>(sql`
    SELECT customer_id AS "customerId", run_id AS "runId", status, coalesce(reason, status_reason) AS reason
    FROM (${asked(customerIds, since)}) AS asked
    ORDER BY status = 'succeeded' NULLS FIRST, customer_id`);
  return rows;
}

/** Postgres's own time: what `since` is measured by. */
export async function readClock(orm: Orm): Promise<Date> {
  const { rows } = await orm.execute<{ now: string }>(sql`SELECT clock_timestamp()::text AS now`);
  return new Date(rows[0]?.now ?? Number.NaN);
}
