/** One writer a customer (promise 2): a lease by the database's clock, and an epoch that rises with each. */
import { and, eq, isNull, lte, or, type Placeholder, type SQL, sql } from 'drizzle-orm';
import { built } from './built.ts';
import type { Orm, Transaction } from './client.ts';
import { isRefused } from './errors.ts';
import { enterFleet, nameProbe } from './fleet-pause.ts';
import { customers } from './schema-sync.ts';

/** Who may write for a customer: whoever names the epoch of its row while the lease runs. */
export type Lease = { customerId: string; epoch: bigint };

/** The lease is over, or another worker holds a later one: nothing may be written any more. */
export class LeaseLostError extends Error {
  constructor(customerId: string) {
    super(`the lease on customer ${customerId} is lost: another worker may hold it`);
    this.name = 'LeaseLostError';
  }
}

// clock_timestamp(), not now(): a transaction that waited for the row's lock must see the time that it got it.
const CLOCK = sql`clock_timestamp()`;
const after = (seconds: number | Placeholder): SQL =>
  sql`${CLOCK} + make_interval(secs => ${seconds}::float8)`;
const isReached = (column: typeof customers.leaseUntil | typeof customers.notBefore) =>
  or(isNull(column), lte(column, CLOCK));

/** Active, due, past its wait, and nobody is at it. */
export const isDue = and(
  eq(customers.status, 'active'),
  lte(customers.nextSyncAt, CLOCK),
  isReached(customers.notBefore),
  isReached(customers.leaseUntil),
);

/**
 * Takes the lease of a customer that is due; null where it is not, another worker was first, or the fleet is paused.
 * `isProbe`: it is the one turn that may ask whether the pause is over. Belongs in a transaction.
 */
export async function acquireLease(
  orm: Orm,
  customerId: string,
  leaseMs: number,
): Promise<(Lease & { isProbe: boolean }) | null> {
  const entry = await enterFleet(orm);
  if (entry === 'closed') return null;
  const [row] = await takeLease(orm, { customerId, seconds: leaseMs / 1000 });
  if (!row) return null;
  const isProbe = entry === 'probe';
  if (isProbe) await nameProbe(orm, customerId, row.epoch);
  return { customerId, epoch: row.epoch, isProbe };
}

const takeLease = built('acquire_lease', (orm) =>
  orm
    .update(customers)
    .set({ epoch: sql`${customers.epoch} + 1`, leaseUntil: after(sql.placeholder('seconds')) })
    .where(and(eq(customers.customerId, sql.placeholder('customerId')), isDue))
    .returning({ epoch: customers.epoch }),
);

/** The row of this lease while it runs. */
const isHeld = ({ customerId, epoch }: Lease) =>
  and(
    eq(customers.customerId, customerId),
    eq(customers.epoch, epoch),
    sql`${customers.leaseUntil} > ${CLOCK}`,
  );

/** Prolongs a lease that still runs; one that ran out stays lost even if nobody took it. */
export async function renewLease(orm: Orm, lease: Lease, leaseMs: number): Promise<boolean> {
  const { rowCount } = await orm
    .update(customers)
    .set({ leaseUntil: after(leaseMs / 1000) })
    .where(isHeld(lease));
  return rowCount === 1;
}

/**
 * Locks the customer's row until the transaction ends, so that no other lease can begin before it is committed.
 * @throws LeaseLostError, and the statement fails.
 */
export async function holdLease(tx: Transaction, { customerId, epoch }: Lease): Promise<void> {
  // The time is looked at when the row is there: a row that others only locked meanwhile is not read again for the lock.
  const text = `WITH held AS (SELECT lease_until FROM calico.customers WHERE customer_id = $1 AND epoch = $2 FOR UPDATE)
    SELECT calico.refuse('the lease is over, or another worker’s')
    WHERE NOT EXISTS (SELECT FROM held WHERE lease_until > clock_timestamp())`;
  const meaning = (error: unknown) => (isRefused(error) ? new LeaseLostError(customerId) : null);
  await tx.query('hold_lease', text, [customerId, epoch], meaning);
}
