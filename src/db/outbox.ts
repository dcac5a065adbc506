/** The outbox from its readers' side: claims, results, and what is no longer needed. All times are the database's. */
import { sql } from 'drizzle-orm';
import type { Database, Orm } from './client.ts';

/** An event that is to be delivered now, by whoever claimed it. `occurredAt` is ISO 8601, `attempt` counts from 1. */
export type ClaimedEvent = {
  seq: string;
  eventId: string;
  type: string;
  customerId: string;
  occurredAt: string;
  data: unknown;
  attempt: number;
};

/** What delivering needs, each its own short transaction. */
export function openOutbox(db: Database) {
  return {
    claim: (limit: number, leaseMs: number) => db.run((orm) => claim(orm, limit, leaseMs)),
    markDelivered: (event: ClaimedEvent) => db.run((orm) => markDelivered(orm, event)),
    markFailed: (event: ClaimedEvent, failure: { reason: string; delayMs: number }) =>
      db.run((orm) => markFailed(orm, event, failure)),
  };
}

/**
 * Claims events that are due, the longest due first, for `leaseMs`: a claim that is not settled by then is somebody
 * else's. Any number may claim at once. A customer's `customer.*` events come in the order in which they happened, each
 * after the one before is delivered or dead: "sign in again" must not arrive after "resumed". The others wait for nobody.
 * now(), because no index is read up to a clock that moves: a day's events that wait for a receiver would all be looked at.
 */
async function claim(orm: Orm, limit: number, leaseMs: number): Promise<ClaimedEvent[]> {
  const { rows } = await orm.execute<ClaimedEvent>(sql`
    WITH due AS MATERIALIZED (
      SELECT seq FROM calico.event_outbox AS event
      WHERE status = 'pending' AND next_attempt_at <= now()
        AND (event_type NOT LIKE 'customer.%' OR NOT EXISTS (
          SELECT FROM calico.event_outbox AS earlier
          WHERE earlier.status = 'pending' AND earlier.event_type LIKE 'customer.%'
            AND earlier.customer_id = event.customer_id AND earlier.seq < event.seq))
      ORDER BY next_attempt_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)
    UPDATE calico.event_outbox AS claimed
    SET attempts = attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => ${leaseMs / 1000})
    FROM due WHERE claimed.seq = due.seq
    RETURNING claimed.seq::text, event_id AS "eventId", event_type AS type, customer_id AS "customerId", data,
      to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS "occurredAt", attempts AS attempt`);
  return rows;
}

/** The receiver has it; true even of a claim that ran out in the meantime. */
async function markDelivered(orm: Orm, { seq }: Pick<ClaimedEvent, 'seq'>): Promise<void> {
  await orm.execute(sql`
    UPDATE calico.event_outbox SET status = 'delivered', settled_at = clock_timestamp(), last_error = NULL
    WHERE seq = ${seq} AND status = 'pending'`);
}

/**
 * The receiver does not have it: another try after `delayMs`, or none where the event is a day old. `reason` holds no
 * secret and no part of the webhook's URL. Says what became of it; a claim that ran out changes nothing.
 */
async function markFailed(
  orm: Orm,
  { seq, attempt }: Pick<ClaimedEvent, 'seq' | 'attempt'>,
  { reason, delayMs }: { reason: string; delayMs: number },
): Promise<'pending' | 'dead' | 'not_ours'> {
  const isDayOld = sql`occurred_at <= clock_timestamp() - interval '1 day'`;
  const { rows } = await orm.execute<{ status: 'pending' | 'dead' }>(sql`
    UPDATE calico.event_outbox
    SET status = CASE WHEN ${isDayOld} THEN 'dead' ELSE 'pending' END,
      settled_at = CASE WHEN ${isDayOld} THEN clock_timestamp() END,
      next_attempt_at = clock_timestamp() + make_interval(secs => ${delayMs / 1000}),
      last_error = ${reason}
    WHERE seq = ${seq} AND attempts = ${attempt} AND status = 'pending'
    RETURNING status`);
  return rows[0]?.status ?? 'not_ours';
}

/**
 * Removes what nobody needs any more, up to `limit` rows: what was delivered after a day, what is dead after a week, and
 * after two days what nobody has tried to the end, which is everything where no webhook is set. Says how many of each.
 */
export async function pruneEvents(
  orm: Orm,
  limit: number,
): Promise<{ removed: number; undelivered: number }> {
  const { rows } = await orm.execute<{ removed: number; undelivered: number }>(sql`
    WITH old AS MATERIALIZED (
      SELECT seq FROM calico.event_outbox
      WHERE occurred_at < clock_timestamp() - CASE status
        WHEN 'delivered' THEN interval '1 day' WHEN 'pending' THEN interval '2 days' ELSE interval '7 days' END
      ORDER BY seq LIMIT ${limit} FOR UPDATE SKIP LOCKED),
    gone AS (DELETE FROM calico.event_outbox AS event USING old WHERE event.seq = old.seq RETURNING status)
    SELECT count(*)::int AS removed, (count(*) FILTER (WHERE status = 'pending'))::int AS undelivered FROM gone`);
  return rows[0] ?? { removed: 0, undelivered: 0 };
}
