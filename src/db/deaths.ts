/** How often the workers of a customer's runs died. */
import { sql } from 'drizzle-orm';
import type { Orm, Transaction } from './client.ts';
import type { Lease } from './leases.ts';
import type { Run } from './runs.ts';
import { customers } from './schema-sync.ts';

/** The cause of a dead letter about deaths. */
export const WORKERS_DIED = 'workers died';

/** More than anybody counts to. */
const MOST_READ = 30;

type Past = { status: Run['status']; cameFurther: boolean; isAboutDeaths: boolean };

/**
 * Runs before this one that their workers left without a word, one after another: 0 where the last ended in any other
 * way. One that had come further in a stream is the first to count; a stream that is read anew each time is no progress.
 * A dead letter about deaths does not end the row, so that behind it a single death is enough for the next.
 */
export async function countDeathsBefore(
  tx: Transaction,
  { customerId, runId }: Pick<Run, 'customerId' | 'runId'>,
): Promise<number> {
  const text = `SELECT status, EXISTS (
      SELECT FROM calico.sync_run_streams s WHERE s.run_id = r.run_id AND s.pages > 0 AND NOT s.complete
    ) AS "cameFurther", status = 'dead_lettered' AND EXISTS (
      SELECT FROM calico.dead_letters d WHERE d.run_id = r.run_id AND d.cause = $3
    ) AS "isAboutDeaths"
    FROM calico.sync_runs r WHERE customer_id = $1 AND run_id <> $2
    ORDER BY started_at DESC LIMIT $4`;
  const rows = await tx.query<Past>('count_deaths', text, [customerId, runId, WORKERS_DIED, MOST_READ]);
  let deaths = 0;
  for (const { status, cameFurther, isAboutDeaths } of rows) {
    if (status === 'abandoned') deaths++;
    else if (deaths === 0 || !isAboutDeaths) return deaths;
    if (cameFurther) return deaths;
  }
  return deaths;
}

/**
 * Takes the lease whoever holds it: a worker that still lives is fenced. Null where there is nothing to end: no open run
 * and none that is due, or a customer that is not active or unknown.
 */
export async function seizeLease(orm: Orm, customerId: string, leaseMs: number): Promise<Lease | null> {
  const { rows } = await orm.execute<{ epoch: string }>(sql`
    UPDATE ${customers} SET epoch = epoch + 1, lease_until = clock_timestamp() + make_interval(secs => ${leaseMs / 1000})
    WHERE customer_id = ${customerId} AND status = 'active' AND (next_sync_at <= clock_timestamp() OR EXISTS (
      SELECT FROM calico.sync_runs r WHERE r.customer_id = ${customerId} AND r.status IN ('running', 'waiting')))
    RETURNING epoch::text`);
  const [row] = rows;
  return row ? { customerId, epoch: BigInt(row.epoch) } : null;
}
