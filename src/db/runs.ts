/** Runs and their receipts. A run is put off and ended here (and opened in open-run.ts); each change holds the lease, but for what a worker says of a lost one. */
import { and, desc, eq, inArray, type SQL, sql } from 'drizzle-orm';
import { built } from './built.ts';
import type { Orm, Transaction } from './client.ts';
import { announce } from './events.ts';
import { holdLease, type Lease } from './leases.ts';
import { customers, type StreamName, syncRunStreams, syncRuns } from './schema-sync.ts';
import type { CustomerStatus, RunStatus } from './statuses.ts';

export type Run = typeof syncRuns.$inferSelect;
/** One stream's part of a run's receipt (promise 3). */
export type Receipt = typeof syncRunStreams.$inferSelect;

/** The row of this run. */
export const isRun = (run: Pick<Run, 'runId'>) => eq(syncRuns.runId, run.runId);

/** Sent together with the look at its lease: whoever has lost it must not even wait for the row, or hold it, until that is answered. */
const isAtEpoch = ({ customerId, epoch }: Lease) =>
  and(eq(customers.customerId, customerId), eq(customers.epoch, epoch));

/** Puts a run off: it holds no lease and no worker for `delayMs`, and goes on as the same run. */
export async function suspendRun(
  tx: Transaction,
  lease: Lease,
  run: Pick<Run, 'runId'>,
  pause: {
    reason: string;
    delayMs: number;
    attempts: number;
    failures: Record<string, number>;
    waitingFor: string | null;
    waitingSince: Date | null;
  },
): Promise<void> {
  const { orm } = tx;
  const { delayMs, ...state } = pause;
  const sent = [
    holdLease(tx, lease),
    orm
      .update(syncRuns)
      .set({ status: 'waiting', ...state })
      .where(isRun(run)),
    orm
      .update(customers)
      .set({ notBefore: sql`clock_timestamp() + make_interval(secs => ${delayMs / 1000})`, leaseUntil: null })
      .where(isAtEpoch(lease)),
  ];
  tx.commitWith(Promise.all(sent));
}

export type Ending = {
  status: Extract<RunStatus, 'succeeded' | 'partial' | 'failed' | 'dead_lettered'>;
  reason: string | null;
  /** The customer's new status, where the run's end stops its schedule. */
  stop: Exclude<CustomerStatus, 'active' | 'paused'> | null;
  /** Look again sooner than the schedule says, if that was not done too often already. */
  followUp: boolean;
  /** Did every stream reach its end? A full run that did is the last full one. */
  complete: boolean;
  /** May records have been missed that were there? Then a full run does not count as the last, but where follow-ups did not help. */
  moving?: boolean;
};

/** Ends a run and moves its customer's schedule, in one round trip: only here does `next_sync_at` move forward. */
export async function endRun(
  tx: Transaction,
  lease: Lease,
  run: Pick<Run, 'runId' | 'mode'>,
  ending: Ending,
  syncIntervalMs: number,
): Promise<void> {
  const { orm } = tx;
  const slot = nextSlot(syncIntervalMs);
  const next = ending.followUp ? soonerThan(slot) : slot;
  const held = holdLease(tx, lease);
  const ended = orm
    .update(syncRuns)
    .set({ status: ending.status, reason: ending.reason, finishedAt: sql`now()`, waitingFor: null })
    .where(isRun(run));
  const moved = orm
    .update(customers)
    .set({
      leaseUntil: null,
      notBefore: null,
      // A request that came while this run was under way is due at once.
      nextSyncAt: sql`CASE WHEN ${customers.requestedTrigger} IS NOT NULL THEN now() ELSE ${next} END`,
      followUps: ending.followUp ? sql`${customers.followUps} + 1` : 0,
      ...(ending.status === 'succeeded' ? { lastSuccessAt: sql`now()` } : {}),
      ...(ending.complete && run.mode === 'full'
        ? { lastFullAt: ending.moving ? giveUpOnMoving : sql`now()` }
        : {}),
      ...(ending.stop ? { status: ending.stop, statusReason: ending.reason } : {}),
    })
    .where(isAtEpoch(lease));
  await Promise.all([held, ended, moved]);
  if (ending.stop !== 'reauth_required') return;
  const data = { customer_id: lease.customerId, run_id: run.runId, reason: ending.reason };
  await announce(orm, { type: 'customer.reauth_required', data });
}

/**
 * The customer's next start: its own place in the interval, by a hash of its id, so that starts are spread evenly
 * however they were added; at least half an interval from now.
 */
export function nextSlot(syncIntervalMs: number): SQL {
  const interval = sql`coalesce(extract(epoch FROM ${customers.syncInterval}), ${syncIntervalMs / 1000}::numeric)`;
  const place = sql`mod(abs(hashtextextended(${customers.customerId}, 0)::numeric), 1000000) / 1000000 * ${interval}`;
  const earliest = sql`(extract(epoch FROM now()) + ${interval} / 2)`;
  return sql`to_timestamp((ceil((${earliest} - ${place}) / ${interval}) * ${interval} + ${place})::float8)`;
}

/** Follow-ups after a partial run: 5, 15 and 45 minutes, then the schedule again (response-codes.md, 206). */
function soonerThan(slot: SQL) {
  const followUp = sql`now() + interval '5 minutes' * power(3, ${customers.followUps})`;
  return sql`CASE WHEN ${customers.followUps} < 3 THEN least(${slot}, ${followUp}) ELSE ${slot} END`;
}

/** None stands, so the follow-ups are full too; after them the schedule's, or a customer that never rests would be read whole every hour. */
const giveUpOnMoving = sql`CASE WHEN ${customers.followUps} < 3 THEN NULL ELSE now() END`;

/** A run as one lease had it: a later one may have gone on with it. */
type LeasedRun = Pick<Run, 'runId' | 'epoch'>;
const isOf = (run: LeasedRun) => and(isRun(run), eq(syncRuns.epoch, run.epoch));

/** Says of a run whose lease was lost that its worker was alive and wrote nothing more. */
export async function markFenced(orm: Orm, run: LeasedRun): Promise<void> {
  const reason = 'its lease ran out or was taken; what it had not committed was not written';
  await orm
    .update(syncRuns)
    .set({ status: 'fenced', reason, finishedAt: sql`coalesce(${syncRuns.finishedAt}, now())` })
    .where(and(isOf(run), inArray(syncRuns.status, ['running', 'abandoned'])));
}

/**
 * Says of a run that its worker lives, and that it could not say how its turn ended: a failed try in `situation`. Where no other
 * worker has taken the run over, it waits as if it had been put off, and the customer's next lease goes on with it.
 */
export async function putOffLate({ orm }: Transaction, run: LeasedRun, situation: string): Promise<void> {
  // Who is at it may be a session of ours that Postgres has yet to miss.
  await orm.execute(sql`SET LOCAL lock_timeout = '1s'`);
  const tries = sql`coalesce((${syncRuns.failures} ->> ${situation}::text)::int, 0) + 1`;
  const { rowCount } = await orm
    .update(syncRuns)
    .set({
      status: 'waiting',
      reason: 'Postgres could not be told how the last turn ended; it goes on at its checkpoint',
      attempts: sql`${syncRuns.attempts} + 1`,
      failures: sql`${syncRuns.failures} || jsonb_build_object(${situation}::text, ${tries})`,
    })
    .where(and(isOf(run), eq(syncRuns.status, 'running')));
  if (!rowCount) await markFenced(orm, run);
}

/** Remembers, once each, what a run has done that should not be done again when it goes on. */
export async function noteInRun(
  orm: Orm,
  run: Pick<Run, 'runId'>,
  done: Partial<Pick<Run, 'refreshed' | 'settling' | 'restarted' | 'providersDown'>>,
): Promise<void> {
  const names = Object.keys(done);
  const name = `note_${names.join('_')}`;
  const note = notes.get(name) ?? noteOf(name, names);
  notes.set(name, note);
  await note(orm, { ...done, runId: run.runId });
}

/** By the columns that are noted together: there are few such sets. */
const notes = new Map<string, Note>();
type Note = (orm: Orm, values: Record<string, unknown>) => Promise<unknown>;
const noteOf = (name: string, columns: readonly string[]): Note =>
  built(name, (orm) =>
    orm
      .update(syncRuns)
      .set(Object.fromEntries(columns.map((column) => [column, sql.placeholder(column)])))
      .where(eq(syncRuns.runId, sql.placeholder('runId'))),
  );

export type Counts = Pick<
  Receipt,
  'fetched' | 'inserted' | 'updated' | 'unchanged' | 'duplicates' | 'quarantined'
>;

/** What a commit adds to a stream's receipt: a page's counts, or none, and how the pass ended with it, if it did. */
export type Gain = { pages: 0 | 1; counts: Counts; end: { moving: boolean } | null };

const COUNTS = ['fetched', 'inserted', 'updated', 'unchanged', 'duplicates', 'quarantined'] as const;

const ADD_TO_RECEIPT = `
INSERT INTO calico.sync_run_streams AS s (run_id, stream, complete, moving, pages, ${COUNTS.join(', ')})
VALUES ($1, $2, $3, $4, $5, ${COUNTS.map((_count, index) => `$${index + 6}`).join(', ')})
ON CONFLICT (run_id, stream) DO UPDATE SET complete = excluded.complete, moving = excluded.moving,
  ${['pages', ...COUNTS].map((count) => `${count} = s.${count} + excluded.${count}`).join(', ')}`;

const CLEAR_FAILURES = `UPDATE calico.sync_runs SET attempts = 0, failures = '{}', waiting_since = NULL, waiting_for = NULL
WHERE run_id = $1`;

/** Adds to a run's receipt; the first success after failures also clears the count of tries. */
export async function addToReceipt(
  tx: Transaction,
  run: Pick<Run, 'runId' | 'attempts' | 'waitingSince'>,
  stream: StreamName,
  { pages, counts, end }: Gain,
): Promise<void> {
  const state = [end !== null, end?.moving ?? false, pages];
  const values = [run.runId, stream, ...state, ...COUNTS.map((count) => counts[count])];
  const added = tx.query('add_to_receipt', ADD_TO_RECEIPT, values);
  const hasFailed = run.attempts > 0 || run.waitingSince !== null;
  await Promise.all([added, hasFailed && tx.query('clear_failures', CLEAR_FAILURES, [run.runId])]);
}

export async function readReceipts(orm: Orm, runId: string): Promise<Receipt[]> {
  return selectReceipts(orm, { runId });
}

const selectReceipts = built('read_receipts', (orm) =>
  orm
    .select()
    .from(syncRunStreams)
    .where(eq(syncRunStreams.runId, sql.placeholder('runId')))
    .orderBy(syncRunStreams.stream),
);

/** The latest runs first, of one customer or of all. */
export async function listRuns(orm: Orm, customerId: string | null, limit: number): Promise<Run[]> {
  return orm
    .select()
    .from(syncRuns)
    .where(customerId === null ? undefined : eq(syncRuns.customerId, customerId))
    .orderBy(desc(syncRuns.startedAt))
    .limit(limit);
}
