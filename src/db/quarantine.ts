/** What operators do with quarantined records: read them, and replay them. Keeping them is in set-aside.ts. */
import { and, asc, desc, eq, getTableColumns, gt, isNull, sql } from 'drizzle-orm';
import type { Orm, Transaction } from './client.ts';
import { quarantinedRecords } from './schema-aside.ts';
import { customers, KEY_COLUMNS, type StreamName } from './schema-sync.ts';
import type { Problem } from './set-aside.ts';

export type QuarantinedRecord = typeof quarantinedRecords.$inferSelect;
/** Without its text, which may be megabytes. */
export type QuarantinedListing = Omit<QuarantinedRecord, 'rawText'>;

/** Whose, and whether the resolved ones too. */
export type Shown = { customerId: string | null; all: boolean };

const isShown = ({ customerId, all }: Shown) =>
  and(
    customerId === null ? undefined : eq(quarantinedRecords.customerId, customerId),
    all ? undefined : isNull(quarantinedRecords.resolvedAt),
  );

/** The latest seen first, and how many there are in all. */
export async function listQuarantined(
  orm: Orm,
  shown: Shown,
  limit: number,
): Promise<{ records: QuarantinedListing[]; total: number }> {
  const { rawText: _text, ...columns } = getTableColumns(quarantinedRecords);
  const records = await orm
    .select(columns)
    .from(quarantinedRecords)
    .where(isShown(shown))
    .orderBy(desc(quarantinedRecords.lastSeenAt), quarantinedRecords.id)
    .limit(limit);
  const total =
    records.length < limit ? records.length : await orm.$count(quarantinedRecords, isShown(shown));
  return { records, total };
}

export async function findQuarantined(orm: Orm, id: string): Promise<QuarantinedRecord | null> {
  const [row] = await orm.select().from(quarantinedRecords).where(eq(quarantinedRecords.id, id));
  return row ?? null;
}

/** Unresolved records of one customer behind `after`, by id. */
export async function nextUnresolved(
  orm: Orm,
  customerId: string,
  after: string | null,
  limit: number,
): Promise<QuarantinedRecord[]> {
  return orm
    .select()
    .from(quarantinedRecords)
    .where(
      and(isShown({ customerId, all: false }), after === null ? undefined : gt(quarantinedRecords.id, after)),
    )
    .orderBy(asc(quarantinedRecords.id))
    .limit(limit);
}

/** Customers that have unresolved records. */
export async function customersInQuarantine(orm: Orm): Promise<string[]> {
  const rows = await orm
    .selectDistinct({ customerId: quarantinedRecords.customerId })
    .from(quarantinedRecords)
    .where(isNull(quarantinedRecords.resolvedAt))
    .orderBy(asc(quarantinedRecords.customerId));
  return rows.map(({ customerId }) => customerId);
}

/**
 * Locks a customer's row until the transaction ends, so that no worker begins and none that sleeps can write.
 * `busy`: a worker has the lease. `unknown`: nobody has that id (any more).
 */
export async function lockIdleCustomer(orm: Orm, customerId: string): Promise<'idle' | 'busy' | 'unknown'> {
  const [row] = await orm
    .select({ busy: sql<boolean>`coalesce(${customers.leaseUntil} > clock_timestamp(), false)` })
    .from(customers)
    .where(eq(customers.customerId, customerId))
    .for('update');
  if (!row) return 'unknown';
  return row.busy ? 'busy' : 'idle';
}

/** A replay wrote this record. */
export async function markReplayed(orm: Orm, id: string): Promise<void> {
  await orm
    .update(quarantinedRecords)
    .set({ resolvedAt: sql`now()`, resolution: 'replayed' })
    .where(eq(quarantinedRecords.id, id));
}

/** Why a record is refused still, by today's reading. */
export async function updateProblems(orm: Orm, id: string, problems: Problem[]): Promise<void> {
  await orm.update(quarantinedRecords).set({ problems }).where(eq(quarantinedRecords.id, id));
}

const HOMES = { transactions: 'calico.transactions', assets: 'calico.asset_positions' } as const;

/**
 * The row that has this key, if any: `newer` where it landed, changed or was removed after the record was last seen.
 * `key` is what the stream's `keyOf` makes.
 */
export async function standingRow(
  tx: Transaction,
  record: Pick<QuarantinedRecord, 'id' | 'customerId'> & { stream: StreamName },
  key: string,
): Promise<{ newer: boolean } | null> {
  const parts = KEY_COLUMNS[record.stream].map((column, index) => `${column} = $${index + 3}`).join(' AND ');
  const text = `SELECT greatest(last_changed_at, removed_at) >
      (SELECT last_seen_at FROM calico.quarantined_records WHERE id = $2) AS newer
    FROM ${HOMES[record.stream]} WHERE customer_id = $1 AND ${parts}`;
  const values = [record.customerId, record.id, ...(JSON.parse(key) as string[])];
  const [row] = await tx.query<{ newer: boolean }>(`standing_${record.stream}`, text, values);
  return row ?? null;
}
