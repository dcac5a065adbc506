/** Runs and their receipts. A run is opened, put off and ended here; each change holds the lease. */
import { and, desc, eq, inArray, type SQL, sql } from 'drizzle-orm';
import { isUnderWay, readCheckpoint } from './checkpoints.ts';
import type { Orm, Transaction } from './client.ts';
import { announce } from './events.ts';
import { holdLease, type Lease } from './leases.ts';
import { customers, type RunMode, type StreamName, syncRunStreams, syncRuns } from './schema-sync.ts';
import type { CustomerStatus, RunStatus } from './statuses.ts';
import { takeOverStreams } from './takeover.ts';

export type Run = typeof syncRuns.$inferSelect;
/** One stream's part of a run's receipt (promise 3). */
export type Receipt = typeof syncRunStreams.$inferSelect;

const isOpen = inArray(syncRuns.status, ['running', 'waiting']);
const isRun = (run: Pick<Run, 'runId'>) => eq(syncRuns.runId, run.runId);

/**
 * The run that this lease is for: the one that was put off, or a new one. A run that another worker left `running`
 * becomes `abandoned`; its pass goes on at the checkpoint in a run of its own, which takes over what it had read (takeover.ts).
 * A new run is full where one was asked for, none was done within the full interval, a full pass is under way, or the
 * run that was killed was full: it may have died before its pass began, and the request went with it.
 */
export async function openRun(
  orm: Orm,
  lease: Lease,
  { fullSyncIntervalMs, syncIntervalMs }: { fullSyncIntervalMs: number; syncIntervalMs: number },
): Promise<Run> {
  const { customerId } = lease;
  // All that is to be known, in one round trip.
  const [[open], asked, checkpoint] = await Promise.all([
    orm
      .select()
      .from(syncRuns)
      .where(and(eq(syncRuns.customerId, customerId), isOpen)),
    readRequest(orm, customerId, fullSyncIntervalMs),
    readCheckpoint(orm, customerId, 'transactions'),
  ]);
  if (open?.status === 'waiting') {
    const [run] = await orm
      .update(syncRuns)
      .set({ status: 'running', epoch: lease.epoch })
      .where(isRun(open))
      .returning();
    return one(run);
  }
  if (open) {
    const reason = 'its worker ended without a word; the next run goes on at its checkpoint';
    await orm
      .update(syncRuns)
      .set({ status: 'abandoned', finishedAt: sql`now()`, reason })
      .where(isRun(open));
  }
  const fullUnderWay = isUnderWay(checkpoint) && checkpoint.passMode === 'full';
  const mustBeFull = asked?.mode === 'full' || asked?.fullIsDue || fullUnderWay || open?.mode === 'full';
  const mode: RunMode = mustBeFull ? 'full' : 'incremental';
  const trigger = asked?.trigger ?? (asked?.followUps ? 'follow_up' : 'schedule');
  const [[run]] = await Promise.all([
    orm.insert(syncRuns).values({ mode, trigger, customerId, epoch: lease.epoch }).returning(),
    orm
      .update(customers)
      .set({ requestedMode: null, requestedTrigger: null })
      .where(eq(customers.customerId, customerId)),
  ]);
  // Whoever asked since that run began wants what there is now, not what it had read before.
  return open && !asked?.trigger ? takeOverStreams(orm, one(run), open, syncIntervalMs) : one(run);
}

/** What was asked of the customer's next run, and what its schedule says. */
async function readRequest(orm: Orm, customerId: string, fullEveryMs: number) {
  const { requestedMode: mode, requestedTrigger: trigger, followUps, lastFullAt } = customers;
  const fullIsDue = sql<boolean>`coalesce(${lastFullAt} <= now() - make_interval(secs => ${fullEveryMs / 1000}), true)`;
  const [row] = await orm
    .select({ mode, trigger, followUps, fullIsDue })
    .from(customers)
    .where(eq(customers.customerId, customerId));
  return row;
}

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
  await Promise.all([
    holdLease(tx, lease),
    orm
      .update(syncRuns)
      .set({ status: 'waiting', ...state })
      .where(isRun(run)),
    orm
      .update(customers)
      .set({ notBefore: sql`clock_timestamp() + make_interval(secs => ${delayMs / 1000})`, leaseUntil: null })
      .where(isAtEpoch(lease)),
  ]);
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

/** Says of a run whose lease was lost that its worker was alive and wrote nothing more. */
export async function markFenced(orm: Orm, run: Pick<Run, 'runId'>): Promise<void> {
  const reason = 'its lease ran out or was taken; what it had not committed was not written';
  await orm
    .update(syncRuns)
    .set({ status: 'fenced', reason, finishedAt: sql`coalesce(${syncRuns.finishedAt}, now())` })
    .where(and(isRun(run), inArray(syncRuns.status, ['running', 'abandoned'])));
}

/** Remembers, once each, what a run has done that must not be done again when it goes on. */
export async function noteInRun(
  orm: Orm,
  run: Pick<Run, 'runId'>,
  done: Partial<Pick<Run, 'refreshed' | 'settling' | 'restarted' | 'providersDown'>>,
): Promise<void> {
  await orm.update(syncRuns).set(done).where(isRun(run));
}

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
  const cleared = { attempts: 0, failures: {}, waitingSince: null, waitingFor: null };
  await Promise.all([added, hasFailed && tx.orm.update(syncRuns).set(cleared).where(isRun(run))]);
}

export async function readReceipts(orm: Orm, runId: string): Promise<Receipt[]> {
  return orm
    .select()
    .from(syncRunStreams)
    .where(eq(syncRunStreams.runId, runId))
    .orderBy(syncRunStreams.stream);
}

/** The latest runs first, of one customer or of all. */
export async function listRuns(orm: Orm, customerId: string | null, limit: number): Promise<Run[]> {
  return orm
    .select()
    .from(syncRuns)
    .where(customerId === null ? undefined : eq(syncRuns.customerId, customerId))
    .orderBy(desc(syncRuns.startedAt))
    .limit(limit);
}

function one(run: Run | undefined): Run {
  if (!run) throw new Error('the run that was just written is not there');
  return run;
}
