/** What the user's application is told: events that wait for their webhook, and those that lately had it. */
import { sql } from 'drizzle-orm';
import { bigint, check, index, json, text, uuid } from 'drizzle-orm/pg-core';
import { calico } from './schema.ts';
import { count, instant } from './schema-sync.ts';

/**
 * One row an event, written in the transaction of the change that it tells of. `event_id` stays the same however often
 * it is delivered. While a worker has it, `next_attempt_at` is when another may take it for dead and try again. Times are
 * the clock's, not the transaction's start: one that waited for the customer's row comes after whoever it waited for.
 */
export const eventOutbox = calico.table(
  'event_outbox',
  {
    seq: bigint('seq', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    eventId: uuid('event_id').notNull().defaultRandom(),
    eventType: text('event_type').notNull(),
    customerId: text('customer_id').notNull(),
    occurredAt: instant('occurred_at').notNull().default(sql`clock_timestamp()`),
    data: json('data').notNull(),
    status: text('status').$type<'pending' | 'delivered' | 'dead'>().notNull().default('pending'),
    attempts: count('attempts'),
    nextAttemptAt: instant('next_attempt_at').notNull().default(sql`clock_timestamp()`),
    lastError: text('last_error'),
    settledAt: instant('settled_at'),
  },
  (t) => [
    check('event_outbox_status', sql`status IN ('pending', 'delivered', 'dead')`),
    index('event_outbox_due').on(t.nextAttemptAt).where(sql`status = 'pending'`),
    // Small: these alone are delivered in order, and few wait at any time.
    index('event_outbox_in_order')
      .on(t.customerId, t.seq)
      .where(sql`status = 'pending' AND event_type LIKE 'customer.%'`),
  ],
);
