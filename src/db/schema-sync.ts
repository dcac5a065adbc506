/** The worker's own tables: who is synced, what ran, where it stands. What was set aside is in schema-aside.ts. */
import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  index,
  integer,
  interval,
  jsonb,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { calico } from './schema.ts';
import { CUSTOMER_STATUSES, type CustomerStatus, RUN_STATUSES, type RunStatus } from './statuses.ts';

export const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' });
export const count = (name: string) => integer(name).notNull().default(0);

export const STREAMS = ['assets', 'transactions'] as const;
export type StreamName = (typeof STREAMS)[number];
/** By what a stream's rows are known, beside their customer; each `keyOf` has its parts in this order. */
export const KEY_COLUMNS = {
  assets: ['provider_id', 'account_id', 'asset_symbol', 'network', 'contract_address'],
  transactions: ['provider_id', 'transaction_id'],
} as const satisfies Record<StreamName, readonly string[]>;
export type RunMode = 'incremental' | 'full';
export type RunTrigger = 'schedule' | 'manual' | 'credentials' | 'follow_up';

const oneOf = (column: string, values: readonly string[]) =>
  sql.raw(`${column} IN (${values.map((value) => `'${value}'`).join(', ')})`);

/**
 * One row a customer: its schedule and the lease of its one writer (promise 2). `next_sync_at` moves only when a run
 * ends; `not_before` holds every wait; `epoch` rises with each lease. `requested_*`: what an operator asked for and no
 * run has taken up yet. `sync_interval` NULL means the setting SYNC_INTERVAL.
 */
export const customers = calico.table(
  'customers',
  {
    customerId: text('customer_id').primaryKey(),
    status: text('status').$type<CustomerStatus>().notNull().default('active'),
    statusReason: text('status_reason'),
    syncInterval: interval('sync_interval'),
    nextSyncAt: instant('next_sync_at').notNull().default(sql`now()`),
    notBefore: instant('not_before'),
    lastSuccessAt: instant('last_success_at'),
    lastFullAt: instant('last_full_at'),
    epoch: bigint('epoch', { mode: 'bigint' }).notNull().default(sql`0`),
    leaseUntil: instant('lease_until'),
    requestedMode: text('requested_mode').$type<RunMode>(),
    requestedTrigger: text('requested_trigger').$type<RunTrigger>(),
    followUps: count('follow_ups'),
    createdAt: instant('created_at').notNull().default(sql`now()`),
  },
  (t) => [
    check('customers_status', oneOf('status', CUSTOMER_STATUSES)),
    index('customers_due').on(t.nextSyncAt).where(sql`status = 'active'`),
  ],
);

/**
 * Tokens at rest, AES-256-GCM each (vault.ts): the one table in which they exist (promise 9). `expiry_announced_for`: the
 * `refresh_expires_at` that was announced.
 */
export const credentials = calico.table(
  'credentials',
  {
    customerId: text('customer_id')
      .primaryKey()
      .references(() => customers.customerId, { onDelete: 'cascade' }),
    accessTokenCiphertext: text('access_token_ciphertext').notNull(),
    refreshTokenCiphertext: text('refresh_token_ciphertext').notNull(),
    keyId: text('key_id').notNull(),
    accessExpiresAt: instant('access_expires_at').notNull(),
    refreshExpiresAt: instant('refresh_expires_at').notNull(),
    expiryAnnouncedFor: instant('expiry_announced_for'),
    updatedAt: instant('updated_at').notNull().default(sql`now()`),
  },
  (t) => [index('credentials_refresh_expires').on(t.refreshExpiresAt)],
);

/**
 * One row a run. A run outlives waits, retries and slices of its job: it is `waiting` between them, and the same row
 * goes on. `attempts` counts failed tries since the last page landed, `failures` the same by situation.
 */
export const syncRuns = calico.table(
  'sync_runs',
  {
    runId: uuid('run_id').primaryKey().defaultRandom(),
    customerId: text('customer_id').notNull(),
    mode: text('mode').$type<RunMode>().notNull(),
    trigger: text('trigger').$type<RunTrigger>().notNull(),
    status: text('status').$type<RunStatus>().notNull().default('running'),
    startedAt: instant('started_at').notNull().default(sql`now()`),
    finishedAt: instant('finished_at'),
    reason: text('reason'),
    epoch: bigint('epoch', { mode: 'bigint' }).notNull(),
    attempts: count('attempts'),
    failures: jsonb('failures').$type<Record<string, number>>().notNull().default({}),
    waitingSince: instant('waiting_since'),
    waitingFor: text('waiting_for'),
    settling: boolean('settling').notNull().default(false),
    refreshed: jsonb('refreshed').$type<StreamName[]>().notNull().default([]),
    restarted: jsonb('restarted').$type<StreamName[]>().notNull().default([]),
    providersDown: jsonb('providers_down').$type<string[]>().notNull().default([]),
  },
  (t) => [
    check('sync_runs_status', oneOf('status', RUN_STATUSES)),
    index('sync_runs_by_customer').on(t.customerId, t.startedAt.desc()),
    // One open run a customer, ever: a second writer would have to break this index too.
    uniqueIndex('sync_runs_open').on(t.customerId).where(sql`status IN ('running', 'waiting')`),
  ],
);

/**
 * A run's receipt, one row a stream (promise 3). `balanced` is computed by Postgres: nobody can set it. `inherited_from`:
 * the stream was read by that run, whose worker was killed later on; it is not read again. What a run took over from others
 * (takeover.ts) is in its `fetched` and `quarantined` as far as it was set aside. `removed`, `held`: live rows that a full
 * pass did not see; `removal_note`: why it was not asked, or what else there is to say of it. `moving`: Calico's records
 * changed places during every walk of the pass, so that some may have been missed.
 */
export const syncRunStreams = calico.table(
  'sync_run_streams',
  {
    runId: uuid('run_id')
      .notNull()
      .references(() => syncRuns.runId, { onDelete: 'cascade' }),
    stream: text('stream').$type<StreamName>().notNull(),
    pages: count('pages'),
    fetched: count('fetched'),
    inserted: count('inserted'),
    updated: count('updated'),
    unchanged: count('unchanged'),
    duplicates: count('duplicates'),
    quarantined: count('quarantined'),
    removed: count('removed'),
    held: count('held'),
    removalNote: text('removal_note'),
    complete: boolean('complete').notNull().default(false),
    moving: boolean('moving').notNull().default(false),
    inheritedFrom: uuid('inherited_from'),
    balanced: boolean('balanced')
      .notNull()
      .generatedAlwaysAs(sql`fetched = inserted + updated + unchanged + duplicates + quarantined`),
  },
  (t) => [primaryKey({ columns: [t.runId, t.stream] })],
);

/**
 * Where a stream stands. While a pass is under way `pass_run_id` is the run that began it and `cursor` the next page's
 * (NULL: the first page). A commit must name the cursor it came from, so pages form one unbroken chain by induction.
 * `watermark`: the latest transaction time of the last whole pass; `pass_watermark`: the same of this one so far.
 * A pass that a provider was missing from (`pass_partial`) does not move the watermark: its gap is read again.
 * `pass_live_rows`: the customer's live rows when a full pass began; how many may go is measured by it (promise 6).
 * `pass_walk`: how often the pass has walked from the first page to the last; beyond 0 and at the first page, it has yet
 * to see whether that page is still what it was (pass-step.ts).
 */
export const checkpoints = calico.table(
  'checkpoints',
  {
    customerId: text('customer_id').notNull(),
    stream: text('stream').$type<StreamName>().notNull(),
    cursor: text('cursor'),
    watermark: instant('watermark'),
    epoch: bigint('epoch', { mode: 'bigint' }).notNull(),
    pagesDone: count('pages_done'),
    passRunId: uuid('pass_run_id'),
    passMode: text('pass_mode').$type<RunMode>(),
    passStartedAt: instant('pass_started_at'),
    passStartTime: instant('pass_start_time'),
    passWatermark: instant('pass_watermark'),
    passPartial: boolean('pass_partial').notNull().default(false),
    passLiveRows: integer('pass_live_rows'),
    passWalk: count('pass_walk'),
    updatedAt: instant('updated_at').notNull().default(sql`now()`),
  },
  (t) => [primaryKey({ columns: [t.customerId, t.stream] })],
);

/**
 * The pages of a pass under way: their cursors ('' is the first) and their keys as 64-bit hashes. Gone when it is over.
 * `head_hashes`: of a first page, all its keys in its order, those set aside too.
 */
export const syncPages = calico.table(
  'sync_pages',
  {
    passRunId: uuid('pass_run_id').notNull(),
    stream: text('stream').$type<StreamName>().notNull(),
    page: integer('page').notNull(),
    walk: count('walk'),
    cursor: text('cursor').notNull(),
    keyHashes: bigint('key_hashes', { mode: 'bigint' }).array().notNull(),
    headHashes: bigint('head_hashes', { mode: 'bigint' }).array(),
  },
  (t) => [
    primaryKey({ columns: [t.passRunId, t.stream, t.page] }),
    // A walk that comes to a cursor twice runs in a circle; md5 because a cursor may be longer than an index row.
    uniqueIndex('sync_pages_cursor').on(t.passRunId, t.stream, t.walk, sql`md5(${t.cursor})`),
  ],
);
