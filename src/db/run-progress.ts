/** How the runs that a request caused are getting on: what `sync --wait` and the demo show. */
import { sql } from 'drizzle-orm';
import type { Orm } from './client.ts';
import type { RunStatus } from './statuses.ts';

/** Whose runs: customers (null: every active one), and those that began at `since` or later (null: no such bound). */
export type Asked = { customerIds: readonly string[] | null; since: Date | null };

export type RunProgress = {
  customers: number;
  ended: number;
  /** Those whose run has begun, and those that a worker is at, be it with an earlier run. */
  begun: number;
  leased: number;
  /** Those that wait for a time: Calico's Retry-After, a refresh that settles, a retry. */
  held: number;
  pages: number;
  records: number;
};

/**
 * Of each customer the latest run, once nothing is requested any more. A run that was under way when the request came
 * does not count: the request stays until the run that takes it up has begun, whatever the clocks say.
 * `run_status` NULL: no run yet, or one that cannot go on because the customer is no longer active.
 */
const asked = ({ customerIds, since }: Asked) => sql`
  SELECT a.customer_id, c.status AS customer_status, r.run_id,
    CASE WHEN c.status = 'active' OR r.status NOT IN (${GOES_ON}) THEN r.status END AS run_status,
    coalesce(c.lease_until > clock_timestamp(), false) AS leased,
    coalesce(c.not_before > clock_timestamp(), false) AS held,
    CASE WHEN c.customer_id IS NULL THEN 'the customer was removed'
      WHEN c.status <> 'active' THEN coalesce(c.status_reason, r.reason) ELSE r.reason END AS reason
  FROM ${customerIds === null ? sql`(SELECT customer_id FROM calico.customers)` : sql`unnest(${sql.param([...customerIds])}::text[])`} AS a (customer_id)
  LEFT JOIN calico.customers c USING (customer_id)
  LEFT JOIN LATERAL (
    SELECT run_id, status, reason FROM calico.sync_runs
    WHERE customer_id = a.customer_id AND c.requested_trigger IS NULL
      AND started_at >= coalesce(${since?.toISOString() ?? null}::timestamptz, '-infinity')
    ORDER BY started_at DESC LIMIT 1
  ) r ON true
  WHERE ${customerIds === null ? sql`c.status = 'active' OR r.run_id IS NOT NULL` : sql`true`}`;

/** Not the end of an active customer's run: it goes on, or another run follows at its checkpoint. */
const GOES_ON = sql.raw(`'running', 'waiting', 'abandoned', 'fenced'`);

const hasEnded = sql`CASE WHEN customer_status = 'active' THEN run_status IS NOT NULL AND run_status NOT IN (${GOES_ON}) ELSE true END`;

export async function readProgress(orm: Orm, of: Asked): Promise<RunProgress> {
  const { rows } = await orm.execute<RunProgress>(sql`
    WITH asked AS (${asked(of)})
    SELECT count(*)::int AS customers, (count(*) FILTER (WHERE ${hasEnded}))::int AS ended,
      count(run_id)::int AS begun, (count(*) FILTER (WHERE leased))::int AS leased,
      (count(*) FILTER (WHERE held))::int AS held,
      coalesce(sum(pages), 0)::int AS pages, coalesce(sum(records), 0)::int AS records
    FROM asked LEFT JOIN LATERAL (
      SELECT sum(pages) AS pages, sum(fetched) AS records FROM calico.sync_run_streams s WHERE s.run_id = asked.run_id
    ) receipts ON true`);
  return rows[0] ?? { customers: 0, ended: 0, begun: 0, leased: 0, held: 0, pages: 0, records: 0 };
}

/** How one customer's run ended. */
export type RunResult = {
  customerId: string;
  runId: string | null;
  /** Null: the customer was paused, stopped or removed before its run came to an end. */
  status: RunStatus | null;
  reason: string | null;
  /** What a dead letter asks a person to do; `<id>` stands for the customer. */
  nextStep: string | null;
};

/** The same customers' results, the ones that did not succeed first. */
export async function readResults(orm: Orm, of: Asked): Promise<RunResult[]> {
  const { rows } = await orm.execute<RunResult>(sql`
    SELECT asked.customer_id AS "customerId", asked.run_id AS "runId", run_status AS status, asked.reason,
      d.evidence ->> 'nextStep' AS "nextStep"
    FROM (${asked(of)}) AS asked LEFT JOIN calico.dead_letters d ON d.run_id = asked.run_id
    ORDER BY run_status = 'succeeded' NULLS FIRST, asked.customer_id`);
  return rows;
}
