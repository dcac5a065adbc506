/** What is open about one customer, for whoever asks why. Reads only. */
import { and, count, eq, isNull, sql } from 'drizzle-orm';
import type { Orm } from './client.ts';
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
  return { deadLetter: letter ?? null, providersDown, quarantined: set?.aside ?? 0 };
}
