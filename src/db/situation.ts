/** What is open about one customer, and about all of them, for whoever asks. Reads only. */
import { and, count, eq, isNull, sql } from 'drizzle-orm';
import type { Orm } from './client.ts';
import { type FleetPause, readFleetPause } from './fleet-pause.ts';
import { countHeldRows } from './held-removals.ts';
import { deadLetters, providerStatus, quarantinedRecords } from './schema-aside.ts';

/** The database's clock in milliseconds: every time in it is by this one. */
export async function databaseNow(orm: Orm): Promise<number> {
  const { rows } = await orm.execute<{ ms: number }>(
    sql`SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS ms`,
  );
  return rows[0]?.ms ?? Number.NaN;
}

export type OpenItems = {
  /** Of the run, while nobody replayed or discarded it; `<id>` in `nextStep` stands for the customer. */
  deadLetter: { id: string; nextStep: string | null } | null;
  providersDown: { providerId: string; cause: string | null; since: Date }[];
  quarantined: number;
  /** Rows in holds that wait for a decision. */
  heldRemovals: number;
};

export async function readOpenItems(orm: Orm, customerId: string, runId: string | null): Promise<OpenItems> {
  const [letter] =
    runId === null
      ? []
      : await orm
          .select({
            id: deadLetters.id,
            nextStep: sql<string | null>`${deadLetters.evidence} ->> 'nextStep'`,
          })
          .from(deadLetters)
          .where(
            and(
              eq(deadLetters.runId, runId),
              isNull(deadLetters.replayedAt),
              isNull(deadLetters.discardedAt),
            ),
          );
  const { providerId, cause, since, state } = providerStatus;
  const providersDown = await orm
    .select({ providerId, cause, since })
    .from(providerStatus)
    .where(and(eq(providerStatus.customerId, customerId), eq(state, 'down')))
    .orderBy(providerId);
  const [set] = await orm
    .select({ aside: count() })
    .from(quarantinedRecords)
    .where(and(eq(quarantinedRecords.customerId, customerId), isNull(quarantinedRecords.resolvedAt)));
  const heldRemovals = await countHeldRows(orm, customerId);
  return { deadLetter: letter ?? null, providersDown, quarantined: set?.aside ?? 0, heldRemovals };
}

export type Overview = {
  /** Customers that were due `overdueMs` ago already and that nobody holds, and since when the first of them. */
  overdue: number;
  overdueSince: Date | null;
  /** Customers that a worker is at. */
  leased: number;
  openDeadLetters: number;
  quarantined: number;
  /** Holds that wait for a decision. */
  heldRemovals: number;
  /** All workers wait for Calico; null where they do not. */
  fleetPause: Pick<FleetPause, 'since' | 'until' | 'reason'> | null;
};

export async function readOverview(orm: Orm, overdueMs: number): Promise<Overview> {
  const { rows } = await orm.execute<
    Omit<Overview, 'overdueSince' | 'fleetPause'> & { overdueSince: string | null }
  >(sql`
    WITH free AS (
      -- Nobody is late while all wait for Calico.
      SELECT greatest(next_sync_at, not_before, lease_until, (SELECT coalesce(opened_at, until) FROM calico.fleet_pause)) AS since
      FROM calico.customers WHERE status = 'active'
    ), overdue AS (
      SELECT since FROM free WHERE since < clock_timestamp() - make_interval(secs => ${overdueMs / 1000})
    )
    SELECT (SELECT count(*)::int FROM overdue) AS overdue, (SELECT min(since)::text FROM overdue) AS "overdueSince",
      (SELECT count(*)::int FROM calico.customers WHERE lease_until > clock_timestamp()) AS leased,
      (SELECT count(*)::int FROM calico.dead_letters WHERE replayed_at IS NULL AND discarded_at IS NULL AND resolved_at IS NULL)
        AS "openDeadLetters",
      (SELECT count(*)::int FROM calico.quarantined_records WHERE resolved_at IS NULL) AS quarantined,
      (SELECT count(*)::int FROM calico.held_removals
        WHERE approved_at IS NULL AND rejected_at IS NULL AND superseded_at IS NULL) AS "heldRemovals"`);
  const [row] = rows;
  if (!row) throw new Error('an overview without a row');
  return {
    ...row,
    overdueSince: row.overdueSince === null ? null : new Date(row.overdueSince),
    fleetPause: await readFleetPause(orm),
  };
}

/** The server's version as Postgres writes it, such as 18.4. */
export async function postgresVersion(orm: Orm): Promise<string> {
  const { rows } = await orm.execute<{ version: string }>(
    sql`SELECT split_part(current_setting('server_version'), ' ', 1) AS version`,
  );
  return rows[0]?.version ?? '';
}
