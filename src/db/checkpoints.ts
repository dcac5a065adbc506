/** Where each stream stands (promise 1). Everything here runs inside the transaction of a page or of a run's change. */
import { and, eq, sql } from 'drizzle-orm';
import type { Orm } from './client.ts';
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
 * Starts a pass at the first cursor; one that was under way is given up. `startTime` null: everything. `liveRows`: what
 * the customer had of the stream before it, where it reads everything.
 */
export async function beginPass(
  orm: Orm,
  lease: Lease,
  stream: StreamName,
  pass: { runId: string; mode: RunMode; startTime: Date | null; liveRows: number | null },
): Promise<Pass> {
  const old = await readCheckpoint(orm, lease.customerId, stream);
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

/** The pages of one pass form a chain: each commit names the cursor it came from. A break here is a defect of ours. */
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

/**
 * Moves the checkpoint on. Where the pass is over its watermark counts from now on, unless it is `partial` (a provider was
 * missing, or records may have been missed), and the record of its pages goes.
 * @throws BrokenChainError where the checkpoint is not where `pass` is.
 */
export async function advance(
  orm: Orm,
  lease: Lease,
  pass: Pass,
  { pages, latest, partial: isPartial, to }: Progress,
): Promise<void> {
  const seen = sql`greatest(${checkpoints.passWatermark}, ${latest}::timestamptz)`;
  const partial = sql`(${checkpoints.passPartial} OR ${isPartial})`;
  // Never later than the pass began: a transaction dated in the future must not hide those before it. LEAST skips NULLs,
  // and a pass that saw no time at all must not claim one.
  const capped = sql`CASE WHEN ${seen} IS NOT NULL THEN least(${seen}, ${checkpoints.passStartedAt}) END`;
  const reached = sql`greatest(${checkpoints.watermark}, ${capped})`;
  const common = {
    epoch: lease.epoch,
    pagesDone: sql`${checkpoints.pagesDone} + ${pages}`,
    updatedAt: sql`now()`,
  };
  const next =
    to === null
      ? {
          cursor: null,
          watermark: sql`CASE WHEN ${partial} THEN ${checkpoints.watermark} ELSE ${reached} END`,
          passRunId: null,
          passMode: null,
          passStartedAt: null,
          passStartTime: null,
          passWatermark: null,
          passPartial: false,
          passLiveRows: null,
          passWalk: 0,
        }
      : { cursor: to.cursor, passWalk: to.walk, passWatermark: seen, passPartial: partial };
  const { rowCount } = await orm
    .update(checkpoints)
    .set({ ...common, ...next })
    .where(
      and(
        at(lease.customerId, pass.stream),
        eq(checkpoints.passRunId, pass.passRunId),
        eq(checkpoints.passWalk, pass.passWalk),
        sql`${checkpoints.cursor} IS NOT DISTINCT FROM ${pass.cursor}`,
      ),
    );
  if (rowCount !== 1) throw new BrokenChainError(pass.stream);
  if (to === null) await forgetPages(orm, pass.passRunId, pass.stream);
}

async function forgetPages(orm: Orm, passRunId: string, stream: StreamName): Promise<void> {
  await orm.delete(syncPages).where(and(eq(syncPages.passRunId, passRunId), eq(syncPages.stream, stream)));
}
