/** What could not go on, kept with its evidence (promise 4), and the providers that were down. */
import { createHash } from 'node:crypto';
import { and, eq, inArray, isNull, ne, notInArray, sql } from 'drizzle-orm';
import { built, isOfStream } from './built.ts';
import type { Orm } from './client.ts';
import { announce, deadLetterCreated } from './events.ts';
import { deadLetters, providerStatus, quarantinedRecords } from './schema-aside.ts';
import type { StreamName } from './schema-sync.ts';

export type Problem = { path: string; message: string };

/** A record that could not be read or stored. `rawText` is its exact source. */
export type Quarantined = { recordKey: string; rawText: string; problems: Problem[] };

/**
 * Keeps records; one that is there already is counted, with its latest text. Keys are unique in `records`. Returns how many
 * the run's receipt has for quarantined already: those that it, or the run that began the pass, has met before.
 */
export async function quarantine(
  orm: Orm,
  { customerId, runId, stream, passRunId }: RunStream & { passRunId: string },
  records: readonly Quarantined[],
): Promise<number> {
  if (records.length === 0) return 0;
  const owner = { customerId, runId, stream };
  const values = records.map((record) => ({ ...record, recordKey: indexable(record.recordKey), ...owner }));
  const keys = values.map(({ recordKey }) => recordKey);
  const isMet = inArray(quarantinedRecords.runId, [runId, passRunId]);
  const met = await orm
    .select({ id: quarantinedRecords.id })
    .from(quarantinedRecords)
    .where(and(isOpenOf(owner), isMet, inArray(quarantinedRecords.recordKey, keys)));
  await orm
    .insert(quarantinedRecords)
    .values(values)
    .onConflictDoUpdate({
      target: [quarantinedRecords.customerId, quarantinedRecords.stream, quarantinedRecords.recordKey],
      set: {
        rawText: sql`excluded.raw_text`,
        problems: sql`excluded.problems`,
        runId: sql`excluded.run_id`,
        lastSeenAt: sql`now()`,
        timesSeen: sql`${quarantinedRecords.timesSeen} + 1`,
        resolvedAt: null,
        resolution: null,
      },
    });
  return met.length;
}

/**
 * After a pass that read everything in `owner.runId`: what that run did not meet is no longer at Calico, be it a record
 * without a readable key or an earlier text of one that has another by now.
 */
export async function resolveGone(orm: Orm, owner: RunStream): Promise<void> {
  await updateGone(orm, owner);
}

/** Is there a quarantined record that `resolveGone` would take for gone? */
export async function isAnyGone(orm: Orm, owner: RunStream): Promise<boolean> {
  return (await selectGone(orm, owner)).length > 0;
}

type RunStream = { customerId: string; runId: string; stream: StreamName };

const isOpenOf = ({ customerId, stream }: RunStream) =>
  and(
    eq(quarantinedRecords.customerId, customerId),
    eq(quarantinedRecords.stream, stream),
    isNull(quarantinedRecords.resolvedAt),
  );

const isNotMet = and(
  isOfStream(quarantinedRecords),
  isNull(quarantinedRecords.resolvedAt),
  ne(quarantinedRecords.runId, sql.placeholder('runId')),
);
const updateGone = built('resolve_gone', (orm) =>
  orm.update(quarantinedRecords).set({ resolvedAt: sql`now()`, resolution: 'gone' }).where(isNotMet),
);
const selectGone = built('is_any_gone', (orm) =>
  orm.select({ id: quarantinedRecords.id }).from(quarantinedRecords).where(isNotMet).limit(1),
);

/** In bytes; an index row holds 2,704, and a key that is too long for a data table must fit in here all the same. */
const LONGEST_KEY = 1_000;

/** A record's key as the quarantine has it. */
export function indexable(key: string): string {
  if (Buffer.byteLength(key) <= LONGEST_KEY) return key;
  return `${key.slice(0, 100)}… ${createHash('sha256').update(key).digest('hex')}`;
}

/** Keeps the evidence of a run that cannot go on, and announces it; returns its id. `orm` is a transaction. */
export async function addDeadLetter(
  orm: Orm,
  letter: Omit<
    typeof deadLetters.$inferInsert,
    'id' | 'createdAt' | 'replayedAt' | 'discardedAt' | 'resolvedAt'
  >,
): Promise<string> {
  const [row] = await orm.insert(deadLetters).values(letter).returning();
  // A job that names nobody is no customer's affair: its operators see it.
  if (row && row.customerId !== '') await announce(orm, deadLetterCreated(row));
  return row?.id ?? '';
}

/** A run of the customer came to its end: what stopped earlier ones is over. */
export async function resolveDeadLetters(orm: Orm, customerId: string): Promise<void> {
  await updateLetters(orm, { customerId });
}

const updateLetters = built('resolve_dead_letters', (orm) =>
  orm
    .update(deadLetters)
    .set({ resolvedAt: sql`now()` })
    .where(
      and(
        eq(deadLetters.customerId, sql.placeholder('customerId')),
        isNull(deadLetters.resolvedAt),
        isNull(deadLetters.discardedAt),
      ),
    ),
);

/** Marks providers down; one that is down already keeps since when. */
export async function markProvidersDown(
  orm: Orm,
  customerId: string,
  down: ReadonlyMap<string, string>,
): Promise<void> {
  if (down.size === 0) return;
  await orm
    .insert(providerStatus)
    .values(
      [...down].map(([providerId, cause]) => ({ customerId, providerId, state: 'down' as const, cause })),
    )
    .onConflictDoUpdate({
      target: [providerStatus.customerId, providerStatus.providerId],
      set: {
        state: 'down',
        cause: sql`excluded.cause`,
        since: sql`CASE WHEN ${providerStatus.state} = 'down' THEN ${providerStatus.since} ELSE now() END`,
      },
    });
}

/** After a run that read everything: those that were down and that it did not miss are back. */
export async function markProvidersUp(
  orm: Orm,
  customerId: string,
  missed: readonly string[],
): Promise<void> {
  await orm
    .update(providerStatus)
    .set({ state: 'ok', cause: null, since: sql`now()`, lastOkAt: sql`now()` })
    .where(
      and(
        eq(providerStatus.customerId, customerId),
        eq(providerStatus.state, 'down'),
        notInArray(providerStatus.providerId, [...missed]),
      ),
    );
}
