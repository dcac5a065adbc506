/** Holds: removals that wait for a person (promise 6). Every change here holds the customer's row. */
import { and, asc, eq, isNull, type SQL, sql } from 'drizzle-orm';
import { built, isOfStream } from './built.ts';
import type { Orm, Transaction } from './client.ts';
import { forgetRows, removeStagedRows, type StreamOwner } from './removals.ts';
import { heldRemovals } from './schema-removals.ts';
import { customers } from './schema-sync.ts';
import { indexable } from './set-aside.ts';
import { arrayOf, lines } from './upsert.ts';

type Hold = typeof heldRemovals.$inferSelect;
export type HoldState = 'open' | 'approved' | 'rejected' | 'superseded';

const isOpen = and(
  isNull(heldRemovals.approvedAt),
  isNull(heldRemovals.rejectedAt),
  isNull(heldRemovals.supersededAt),
);
const isHold = (holdId: string) => eq(heldRemovals.holdId, holdId);

/**
 * What a page's records settle. Those that `landed` are no longer set aside. All that it `met` are not missing: they
 * leave the holds they are in, and a hold that loses its last row is superseded: the count is of what was there before this
 * statement, as all of its parts see it. One statement, for every page pays for it and hardly one has anything to settle.
 */
export async function settleMet(
  tx: Transaction,
  { customerId, stream }: StreamOwner,
  { landed, met }: { landed: readonly string[]; met: readonly string[] },
): Promise<void> {
  const text = `WITH resolved AS (
      UPDATE calico.quarantined_records SET resolved_at = now(), resolution = 'landed'
      WHERE customer_id = $1 AND stream = $2 AND record_key = ANY (${arrayOf('$3')}) AND resolved_at IS NULL),
    released AS (
      DELETE FROM calico.held_removal_rows WHERE customer_id = $1 AND stream = $2
        AND key_hash = ANY (SELECT hashtextextended(key, 0) FROM unnest(${arrayOf('$4')}) AS key) RETURNING hold_id)
    UPDATE calico.held_removals h SET superseded_at = now()
    FROM (SELECT hold_id, count(*) AS rows FROM released GROUP BY hold_id) AS r
    WHERE h.customer_id = $1 AND h.stream = $2 AND h.hold_id = r.hold_id AND h.approved_at IS NULL AND h.rejected_at IS NULL
      AND h.superseded_at IS NULL AND r.rows = (SELECT count(*) FROM calico.held_removal_rows WHERE hold_id = r.hold_id)`;
  await tx.query('settle_met', text, [customerId, stream, lines(landed.map(indexable)), lines(met)]);
}

/**
 * Holds the rows under `hold.holdId`. Where exactly they are held already, that hold stays, so that the id which a
 * person is about to approve is not another's an hour later.
 */
export async function holdStaged(
  tx: Transaction,
  owner: StreamOwner,
  hold: Pick<Hold, 'holdId' | 'runId' | 'heldRows' | 'liveRows' | 'reason'>,
): Promise<void> {
  const open = await findOpen(tx.orm, owner);
  if (open && (await holdSameRows(tx, open.holdId, hold.holdId))) {
    await forgetRows(tx, hold.holdId);
    await tx.orm.update(heldRemovals).set({ confirmedAt: sql`now()` }).where(isHold(open.holdId));
    return;
  }
  await supersede(tx, open);
  await tx.orm.insert(heldRemovals).values({ ...owner, ...hold });
}

/** A full pass has judged anew: what was held before is no longer asked for. */
export async function supersedeOpen(tx: Transaction, owner: StreamOwner): Promise<void> {
  await supersede(tx, await findOpen(tx.orm, owner));
}

async function supersede(tx: Transaction, open: Hold | null): Promise<void> {
  if (!open) return;
  await forgetRows(tx, open.holdId);
  await tx.orm.update(heldRemovals).set({ supersededAt: sql`now()` }).where(isHold(open.holdId));
}

async function findOpen(orm: Orm, owner: StreamOwner): Promise<Hold | null> {
  const [open] = await selectOpen(orm, owner);
  return open ?? null;
}

const selectOpen = built('read_open_hold', (orm) =>
  orm
    .select()
    .from(heldRemovals)
    .where(and(isOfStream(heldRemovals), isOpen)),
);

async function holdSameRows(tx: Transaction, one: string, other: string): Promise<boolean> {
  const text = `SELECT FROM calico.held_removal_rows WHERE hold_id IN ($1, $2)
    GROUP BY key_hash HAVING count(*) = 1 LIMIT 1`;
  return (await tx.query('hold_same', text, [one, other])).length === 0;
}

/** A hold as a person sees it: `remainingRows` are still missing, `examples` some of their keys. */
export type HoldSeen = Hold & { state: HoldState; remainingRows: number; examples: string[][] };

const STATE = sql<HoldState>`CASE WHEN ${heldRemovals.approvedAt} IS NOT NULL THEN 'approved'
  WHEN ${heldRemovals.rejectedAt} IS NOT NULL THEN 'rejected'
  WHEN ${heldRemovals.supersededAt} IS NOT NULL THEN 'superseded' ELSE 'open' END`;
const rowsOfHold = sql`FROM calico.held_removal_rows r WHERE r.hold_id = "held_removals"."hold_id"`;

/** Holds, the oldest first: the open ones, or all. */
export async function listHolds(orm: Orm, all: boolean): Promise<HoldSeen[]> {
  const found = await selectHolds(orm, all ? undefined : isOpen);
  return found.map(({ hold, ...seen }) => ({ ...hold, ...seen }));
}

/** How many rows of a customer's wait for a decision. */
export async function countHeldRows(orm: Orm, customerId: string): Promise<number> {
  const [row] = await orm
    .select({ rows: sql<number>`coalesce(sum((SELECT count(*) ${rowsOfHold})), 0)::int` })
    .from(heldRemovals)
    .where(and(eq(heldRemovals.customerId, customerId), isOpen));
  return row?.rows ?? 0;
}

function selectHolds(orm: Orm, which: SQL | undefined) {
  return orm
    .select({
      hold: heldRemovals,
      state: STATE,
      remainingRows: sql<number>`(SELECT count(*)::int ${rowsOfHold})`,
      examples: sql<string[][]>`(SELECT coalesce(json_agg(record_key), '[]') FROM (
        SELECT record_key ${rowsOfHold} ORDER BY record_key LIMIT 3) AS first_rows)`,
    })
    .from(heldRemovals)
    .where(which)
    .orderBy(asc(heldRemovals.createdAt));
}

/** What a decision did; `state` is the hold's before it, and nothing was done where that did not allow it. */
export type Decided = { hold: Hold; state: HoldState; rows: number; done: boolean };

/**
 * Removes exactly the rows that are still in the hold. A rejected one may be approved after all. A sync under way is
 * not disturbed: its pages and this wait for each other at the customer's row, and a row that one of them brings later
 * is live again.
 * @returns null where there is no such hold
 */
export async function approveHold(tx: Transaction, holdId: string): Promise<Decided | null> {
  const found = await lockHold(tx, holdId);
  if (!found) return null;
  const { hold, state } = found;
  if (state !== 'open' && state !== 'rejected') return { hold, state, rows: 0, done: false };
  const rows = await removeStagedRows(tx, hold, hold.holdId, hold.runId);
  await tx.orm
    .update(heldRemovals)
    .set({ approvedAt: sql`now()`, removedRows: rows })
    .where(isHold(hold.holdId));
  return { hold, state, rows, done: true };
}

/**
 * Keeps the rows of an open hold. They stay on record as rejected, so that later passes do not ask about them again,
 * until they are seen again.
 * @returns null where there is no such hold
 */
export async function rejectHold(tx: Transaction, holdId: string): Promise<Decided | null> {
  const found = await lockHold(tx, holdId);
  if (!found) return null;
  const { hold, state, remainingRows } = found;
  if (state !== 'open') return { hold, state, rows: 0, done: false };
  await tx.orm.update(heldRemovals).set({ rejectedAt: sql`now()` }).where(isHold(hold.holdId));
  return { hold, state, rows: remainingRows, done: true };
}

/** Waits for the page that is being committed and keeps the next one waiting; a removed customer has no row to lock. */
async function lockHold({ orm }: Transaction, holdId: string) {
  const isNamed = sql`${heldRemovals.holdId}::text = ${holdId}`;
  const [named] = await selectHolds(orm, isNamed);
  if (!named) return null;
  await orm
    .select({ locked: sql`1` })
    .from(customers)
    .where(eq(customers.customerId, named.hold.customerId))
    .for('update');
  await orm.select({ locked: sql`1` }).from(heldRemovals).where(isNamed).for('update');
  const [found] = await selectHolds(orm, isNamed);
  return found ?? null;
}
