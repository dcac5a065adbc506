/** What could not land or go on, and who was missing: quarantined records, dead letters, providers. */
import { sql } from 'drizzle-orm';
import { index, integer, jsonb, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { calico } from './schema.ts';
import { instant, type StreamName } from './schema-sync.ts';

/** How a quarantined record was settled: its key landed, a whole full pass no longer held it, or a replay wrote it. */
export const RESOLUTIONS = ['landed', 'gone', 'replayed'] as const;
export type Resolution = (typeof RESOLUTIONS)[number];

/** Records that could not be read or stored, with their exact text (promise 4). `run_id`: the last that met it. */
export const quarantinedRecords = calico.table(
  'quarantined_records',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    customerId: text('customer_id').notNull(),
    stream: text('stream').$type<StreamName>().notNull(),
    recordKey: text('record_key').notNull(),
    rawText: text('raw_text').notNull(),
    problems: jsonb('problems').$type<{ path: string; message: string }[]>().notNull(),
    runId: uuid('run_id').notNull(),
    firstSeenAt: instant('first_seen_at').notNull().default(sql`now()`),
    lastSeenAt: instant('last_seen_at').notNull().default(sql`now()`),
    timesSeen: integer('times_seen').notNull().default(1),
    resolvedAt: instant('resolved_at'),
    resolution: text('resolution').$type<Resolution>(),
  },
  (t) => [
    uniqueIndex('quarantined_records_key').on(t.customerId, t.stream, t.recordKey),
    index('quarantined_records_open').on(t.customerId).where(sql`resolved_at IS NULL`),
  ],
);

/**
 * Jobs that could not go on, with the evidence (promise 4). `cause`: a short key to group by, such as "603 authentication
 * failed". `customer_id` is '' and `run_id` NULL where the job itself could not be read. One is open until an operator
 * replays or discards it, or a later run of its customer comes to its end (`resolved_at`).
 */
export const deadLetters = calico.table(
  'dead_letters',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    customerId: text('customer_id').notNull(),
    runId: uuid('run_id'),
    stream: text('stream').$type<StreamName>(),
    httpStatus: integer('http_status'),
    code: integer('code'),
    verdict: text('verdict').notNull(),
    cause: text('cause').notNull().default('not recorded'),
    reason: text('reason').notNull(),
    fault: text('fault').notNull(),
    evidence: jsonb('evidence').$type<Record<string, unknown>>().notNull(),
    createdAt: instant('created_at').notNull().default(sql`now()`),
    replayedAt: instant('replayed_at'),
    discardedAt: instant('discarded_at'),
    resolvedAt: instant('resolved_at'),
  },
  (t) => [
    index('dead_letters_open')
      .on(t.cause, t.createdAt)
      .where(sql`replayed_at IS NULL AND discarded_at IS NULL AND resolved_at IS NULL`),
    index('dead_letters_by_customer').on(t.customerId, t.createdAt),
    index('dead_letters_by_run').on(t.runId),
  ],
);

export const providerStatus = calico.table(
  'provider_status',
  {
    customerId: text('customer_id').notNull(),
    providerId: text('provider_id').notNull(),
    state: text('state').$type<'ok' | 'down'>().notNull(),
    cause: text('cause'),
    since: instant('since').notNull().default(sql`now()`),
    lastOkAt: instant('last_ok_at'),
  },
  (t) => [primaryKey({ columns: [t.customerId, t.providerId] })],
);
