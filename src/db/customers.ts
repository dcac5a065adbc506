/** Customers: who is synced and when. Every change that must stop a running sync raises the epoch, which fences it. */
import { and, asc, count, eq, inArray, isNotNull, lte, type SQL, sql } from 'drizzle-orm';
import type { Orm } from './client.ts';
import { announce } from './events.ts';
import { isClosed, readFleetPause } from './fleet-pause.ts';
import { isDue } from './leases.ts';
import { TRANSACTION_KINDS } from './schema.ts';
import { customers, type RunMode, type RunTrigger } from './schema-sync.ts';
import type { CustomerStatus } from './statuses.ts';

export type Customer = typeof customers.$inferSelect;

/** What adding did: `resumed` names the status in which the customer had stopped for want of credentials. */
export type Added = { known: boolean; resumed: CustomerStatus | null; status: CustomerStatus };

/**
 * A first epoch in microseconds of the clock. From 0, a customer that was removed and added again would soon have the
 * epoch of a worker that still sleeps on the former one's lease.
 */
const NEVER_BEFORE = sql`(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`;

/**
 * Adds a customer, due at once. One that is known keeps its rows and checkpoints; where it had stopped because its
 * credentials or rights failed it becomes active and due again. A paused one stays paused.
 */
export async function addCustomer(orm: Orm, customerId: string, everyMs: number | null): Promise<Added> {
  const interval = everyMs === null ? null : sql`make_interval(secs => ${everyMs / 1000})`;
  const inserted = await orm
    .insert(customers)
    .values({ customerId, syncInterval: interval, epoch: NEVER_BEFORE })
    .onConflictDoNothing();
  if (inserted.rowCount === 1) return { known: false, resumed: null, status: 'active' };

  const [known] = await orm
    .select()
    .from(customers)
    .where(eq(customers.customerId, customerId))
    .for('update');
  const status = known?.status ?? 'active';
  const resumes = status !== 'active' && status !== 'paused';
  await orm
    .update(customers)
    .set({
      // Never an empty SET: drizzle refuses that, and a healthy customer has nothing else to change here.
      syncInterval: interval ?? sql`${customers.syncInterval}`,
      ...(resumes
        ? {
            status: 'active',
            statusReason: null,
            notBefore: null,
            nextSyncAt: sql`now()`,
            requestedTrigger: 'credentials',
          }
        : {}),
    })
    .where(eq(customers.customerId, customerId));
  if (resumes)
    await announce(orm, { type: 'customer.resumed', data: { customer_id: customerId, was: status } });
  return { known: true, resumed: resumes ? status : null, status: resumes ? 'active' : status };
}

export async function findCustomer(orm: Orm, customerId: string): Promise<Customer | null> {
  const [row] = await orm.select().from(customers).where(eq(customers.customerId, customerId));
  return row ?? null;
}

/** Customers by id, up to `limit` after `after`. */
export async function listCustomers(orm: Orm, limit: number, after = ''): Promise<Customer[]> {
  return orm
    .select()
    .from(customers)
    .where(sql`${customers.customerId} > ${after}`)
    .orderBy(asc(customers.customerId))
    .limit(limit);
}

/** How many customers there are in each status that anyone is in. */
export async function countByStatus(orm: Orm): Promise<{ status: CustomerStatus; customers: number }[]> {
  return orm
    .select({ status: customers.status, customers: count() })
    .from(customers)
    .groupBy(customers.status)
    .orderBy(asc(customers.status));
}

/** One of them will ask whether the pause is over; a few, for the first one's job may be stuck. */
const PROBE_CANDIDATES = 3;

/**
 * Those that are due and that nobody works on, the longest due first. While the fleet is paused there are none, and when
 * somebody may ask whether that is over, a few.
 */
export async function listDueCustomers(orm: Orm, limit: number): Promise<string[]> {
  const pause = await readFleetPause(orm);
  if (pause && isClosed(pause)) return [];
  const rows = await orm
    .select({ customerId: customers.customerId })
    .from(customers)
    // now() besides: no index is read up to a clock that moves, and all customers would be looked at.
    .where(and(isDue, lte(customers.nextSyncAt, sql`now()`)))
    .orderBy(asc(customers.nextSyncAt))
    .limit(pause ? Math.min(limit, PROBE_CANDIDATES) : limit);
  return rows.map((row) => row.customerId);
}

/** Is there one of them? Whoever asks holds the lease of its own customer, which is therefore none. */
export async function isAnyoneDue(orm: Orm): Promise<boolean> {
  return (await listDueCustomers(orm, 1)).length > 0;
}

/** Ends the customer's lease: a worker at it is fenced at its next commit. */
const fence = { epoch: sql`${customers.epoch} + 1`, leaseUntil: null };

/** Stops an active customer's schedule, a running sync included. False where it is not active. */
export async function pauseCustomer(orm: Orm, customerId: string, reason: string): Promise<boolean> {
  const { rowCount } = await orm
    .update(customers)
    .set({ status: 'paused', statusReason: reason, ...fence })
    .where(and(eq(customers.customerId, customerId), eq(customers.status, 'active')));
  return rowCount === 1;
}

/** Starts a paused customer again, at its checkpoint and at once. False where it is not paused. `orm` is a transaction. */
export async function resumeCustomer(orm: Orm, customerId: string): Promise<boolean> {
  const { rowCount } = await orm
    .update(customers)
    .set({ status: 'active', statusReason: null, nextSyncAt: sql`now()` })
    .where(and(eq(customers.customerId, customerId), eq(customers.status, 'paused')));
  if (rowCount !== 1) return false;
  await announce(orm, { type: 'customer.resumed', data: { customer_id: customerId, was: 'paused' } });
  return true;
}

/**
 * Forgets a customer: its schedule, checkpoints and tokens. What was synced and what was set aside stays for audits,
 * unless `purge` asks for it to go too. False where the customer is unknown.
 */
export async function removeCustomer(orm: Orm, customerId: string, purge: boolean): Promise<boolean> {
  const { rowCount } = await orm.delete(customers).where(eq(customers.customerId, customerId));
  await orm.execute(sql`UPDATE calico.sync_runs
    SET status = 'abandoned', finished_at = now(), reason = 'the customer was removed'
    WHERE customer_id = ${customerId} AND status IN ('running', 'waiting')`);
  await orm.execute(sql`DELETE FROM calico.sync_pages
    WHERE pass_run_id IN (SELECT pass_run_id FROM calico.checkpoints WHERE customer_id = ${customerId})`);
  const tables = ['checkpoints', 'provider_status', ...(purge ? PURGED_TABLES : [])];
  for (const table of tables) {
    await orm.execute(sql`DELETE FROM ${sql.raw(`calico.${table}`)} WHERE customer_id = ${customerId}`);
  }
  return rowCount === 1;
}

const PURGED_TABLES = [
  ...['asset_positions', 'asset_position_history', 'transaction_fees', 'quarantined_records', 'dead_letters'],
  ...['held_removals', 'held_removal_rows'],
  ...TRANSACTION_KINDS.map((kind) => `${kind}_transactions`),
  ...['sync_runs', 'event_outbox'],
];

/**
 * Makes customers due now and remembers why; the request outlives the queue (promise 8). A run under way is followed by
 * another. `ids` null: every active customer. Returns those that will run; the paused and stopped are left out.
 */
export async function requestSync(
  orm: Orm,
  ids: readonly string[] | null,
  mode: RunMode,
  trigger: RunTrigger,
): Promise<string[]> {
  const chosen: SQL =
    ids === null ? isNotNull(customers.customerId) : inArray(customers.customerId, [...ids]);
  const rows = await orm
    .update(customers)
    .set({
      nextSyncAt: sql`least(${customers.nextSyncAt}, now())`,
      requestedTrigger: trigger,
      ...(mode === 'full' ? { requestedMode: mode } : {}),
    })
    .where(and(chosen, eq(customers.status, 'active')))
    .returning({ customerId: customers.customerId });
  return rows.map((row) => row.customerId);
}
