/** Where each stream stands (promise 1). Everything here runs inside the transaction of a page or of a run's change. */
import { and, eq, sql } from 'drizzle-orm';
import type { Orm, Transaction } from './client.ts';
import type { Lease } from './leases.ts';
import { checkpoints, type RunMode, type StreamName, syncPages } from './schema-sync.ts';

export type Checkpoint = typeof checkpoints.$inferSelect;
/** A pass under way: from its first cursor to the end, through any number of runs. */
export type Pass = Checkpoint & { passRunId: string; passMode: RunMode };

const at = (customerId: string, stream: StreamName) =>
  and(eq(checkpoints.customerId, customerId), eq(checkpoints.stream, stream));

/** Null where the stream was never read: "could not be read" throws and is never taken for that. */
export async function readCheckpoint(
  orm: Orm,
  customerId: string,
  stream: StreamName,
): Promise<Checkpoint | null> {
  const [row] = await orm.select().from(checkpoints).where(at(customerId, stream));
  return row ?? null;
}

export function isUnderWay(checkpoint: Checkpoint | null): checkpoint is Pass {
  return checkpoint !== null && checkpoint.passRunId !== null && checkpoint.passMode !== null;
}

/**
 * Starts a pass at the first cursor; what is under way at the `old` checkpoint is given up. `startTime` null: everything.
 * `liveRows`: what the customer had of the stream before it, where it reads everything.
 */
export async function beginPass(
  orm: Orm,
  lease: Lease,
  old: Checkpoint | null,
  pass: {
    stream: StreamName;
    runId: string;
    mode: RunMode;
    startTime: Date | null;
    liveRows: number | null;
  },
): Promise<Pass> {
  const { stream } = pass;
  if (isUnderWay(old)) await forgetPages(orm, old.passRunId, stream);
  const values = {
    cursor: null,
    epoch: lease.epoch,
    pagesDone: 0,
    passRunId: pass.runId,
    passMode: pass.mode,
    passStartedAt: sql`now()`,
    passStartTime: pass.startTime,
    passWatermark: null,
    passPartial: false,
    passLiveRows: pass.liveRows,
    passWalk: 0,
    updatedAt: sql`now()`,
  };
  const [row] = await orm
    .insert(checkpoints)
    .values({ customerId: lease.customerId, stream, ...values })
    .onConflictDoUpdate({ target: [checkpoints.customerId, checkpoints.stream], set: values })
    .returning();
  return row as Pass;
}

/**
 * The pages of one pass form a chain: each commit names the cursor it came from. It breaks where a crash of Postgres took
 * back the latest pages under a worker's feet, or by a defect of ours; the next turn goes on at the checkpoint.
 */
export class BrokenChainError extends Error {
  constructor(stream: StreamName) {
    super(`the ${stream} page that was to be committed does not follow the one before it`);
    this.name = 'BrokenChainError';
  }
}

/** Where a pass goes on: a page's cursor (null: the first page), in which of its walks. */
export type Place = { cursor: string | null; walk: number };

/** A page, or a look at one: `pages` written, the latest time among them, and where the pass goes on (null: it is over). */
export type Progress = { pages: 0 | 1; latest: string | null; partial: boolean; to: Place | null };

/** $1 to $5: which checkpoint, and where it must be. $6: the epoch; $7 to $9: pages, the latest time, partial. */
const move = (changes: string) => `
UPDATE calico.checkpoints SET epoch = $6, pages_done = pages_done + $7, updated_at = now(), ${changes}
WHERE customer_id = $1 AND stream = $2 AND pass_run_id = $3 AND pass_walk = $4 AND cursor IS NOT DISTINCT FROM $5
RETURNING 1`;

const SEEN = 'greatest(pass_watermark, $8::timestamptz)';
const PARTIAL = '(pass_partial OR $9::boolean)';

const GO_ON = move(`cursor = $10, pass_walk = $11, pass_watermark = ${SEEN}, pass_partial = ${PARTIAL}`);

// Never later than the pass began: a transaction dated in the future must not hide those before it. LEAST skips NULLs,
// and a pass that saw no time at all must not claim one.
const END = move(`cursor = NULL, pass_walk = 0, pass_watermark = NULL, pass_partial = false,
  watermark = CASE WHEN ${PARTIAL} THEN watermark
    ELSE greatest(watermark, CASE WHEN ${SEEN} IS NOT NULL THEN least(${SEEN}, pass_started_at) END) END,
  pass_run_id = NULL, pass_mode = NULL, pass_started_at = NULL, pass_start_time = NULL, pass_live_rows = NULL`);

/**
 * Moves the checkpoint on. Where the pass is over its watermark counts from now on, unless it is `partial` (a provider was
 * missing, or records may have been missed), and the record of its pages goes.
 * @throws BrokenChainError where the checkpoint is not where `pass` is.
 */
export async function advance(
  tx: Transaction,
  { customerId, epoch }: Lease,
  { stream, passRunId, passWalk, cursor }: Pass,
  { pages, latest, partial, to }: Progress,
): Promise<void> {
  const values = [customerId, stream, passRunId, passWalk, cursor, epoch, pages, latest, partial];
  const moved = await (to === null
    ? tx.query('end_pass', END, values)
    : tx.query('advance', GO_ON, [...values, to.cursor, to.walk]));
  if (moved.length !== 1) throw new BrokenChainError(stream);
  if (to === null) await forgetPages(tx.orm, passRunId, stream);
}

async function forgetPages(orm: Orm, passRunId: string, stream: StreamName): Promise<void> {
  await orm.delete(syncPages).where(and(eq(syncPages.passRunId, passRunId), eq(syncPages.stream, stream)));
}
