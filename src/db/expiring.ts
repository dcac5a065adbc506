/** Refresh tokens that end soon, of whoever is synced or paused. */
import { and, asc, inArray, isNull, lte, or, sql } from 'drizzle-orm';
import type { Orm } from './client.ts';
import { announce } from './events.ts';
import { credentials, customers } from './schema-sync.ts';

/**
 * Announces refresh tokens that end within 30 days, up to `limit` of them, each end once; says how many. An end that
 * moved by less than a week is the same one: a token that lives for two weeks and rotates every hour is no news each time.
 * Whoever has stopped is left out: that was told when it happened. A row that a token refresh holds is left for the next
 * time. `orm` is a transaction.
 */
export async function announceExpiring(orm: Orm, limit: number): Promise<number> {
  const { customerId, refreshExpiresAt, expiryAnnouncedFor } = credentials;
  const syncedOrPaused = orm
    .select({ customerId: customers.customerId })
    .from(customers)
    .where(inArray(customers.status, ['active', 'paused']));
  const ending = await orm
    .select({ customerId, refreshExpiresAt })
    .from(credentials)
    .where(
      and(
        lte(refreshExpiresAt, sql`now() + interval '30 days'`),
        or(
          isNull(expiryAnnouncedFor),
          sql`${refreshExpiresAt} NOT BETWEEN ${expiryAnnouncedFor} - interval '7 days' AND ${expiryAnnouncedFor} + interval '7 days'`,
        ),
        inArray(customerId, syncedOrPaused),
      ),
    )
    .orderBy(asc(refreshExpiresAt))
    .limit(limit)
    .for('update', { skipLocked: true });
  if (ending.length === 0) return 0;
  await orm
    .update(credentials)
    .set({ expiryAnnouncedFor: sql`${refreshExpiresAt}` })
    .where(
      inArray(
        customerId,
        ending.map((row) => row.customerId),
      ),
    );
  const events = ending.map((row) => ({
    type: 'credentials.expiring' as const,
    data: { customer_id: row.customerId, refresh_expires_at: row.refreshExpiresAt.toISOString() },
  }));
  await announce(orm, ...events);
  return ending.length;
}
