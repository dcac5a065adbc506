/** Removals that promise 6 held back: a person decides about them. */
import { sql } from 'drizzle-orm';
import { bigint, index, integer, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { calico } from './schema.ts';
import { count, instant, type StreamName } from './schema-sync.ts';

/**
 * One row a hold: more of a customer's rows were missing from a full pass than may go unasked. It is open until it is
 * approved, rejected, or superseded: by a later pass that judged anew, or because every row of it came back.
 */
export const heldRemovals = calico.table(
  'held_removals',
  {
    holdId: uuid('hold_id').primaryKey().defaultRandom(),
    customerId: text('customer_id').notNull(),
    stream: text('stream').$type<StreamName>().notNull(),
    runId: uuid('run_id').notNull(),
    /** Missing when it was held; those that came back since have left `held_removal_rows`. */
    heldRows: integer('held_rows').notNull(),
    /** The customer's live rows of the stream before that pass. */
    liveRows: integer('live_rows').notNull(),
    reason: text('reason').notNull(),
    createdAt: instant('created_at').notNull().default(sql`now()`),
    /** The latest full pass that found exactly the same rows missing. */
    confirmedAt: instant('confirmed_at'),
    approvedAt: instant('approved_at'),
    rejectedAt: instant('rejected_at'),
    supersededAt: instant('superseded_at'),
    /** What approving removed. */
    removedRows: count('removed_rows'),
  },
  (t) => [
    uniqueIndex('held_removals_open')
      .on(t.customerId, t.stream)
      .where(sql`approved_at IS NULL AND rejected_at IS NULL AND superseded_at IS NULL`),
  ],
);

/**
 * The rows of an open or a rejected hold, by their key's parts in order and the hash by which a page knows them. A row
 * that is seen again leaves; of two keys with one hash only one is here, so that a collision keeps a row and never
 * removes one.
 */
export const heldRemovalRows = calico.table(
  'held_removal_rows',
  {
    holdId: uuid('hold_id').notNull(),
    customerId: text('customer_id').notNull(),
    stream: text('stream').$type<StreamName>().notNull(),
    keyHash: bigint('key_hash', { mode: 'bigint' }).notNull(),
    recordKey: text('record_key').array().notNull(),
    heldAt: instant('held_at').notNull().default(sql`now()`),
  },
  (t) => [
    primaryKey({ columns: [t.holdId, t.keyHash] }),
    index('held_removal_rows_seen').on(t.customerId, t.stream, t.keyHash),
  ],
);
