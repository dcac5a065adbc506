/** Where each stream stands (promise 1). Everything here runs inside the transaction of a page or of a run's change. */
import { and, eq, sql } from 'drizzle-orm';
import { built, isOfStream } from './built.ts';
import type { Orm, Transaction } from './client.ts';
import { isRefused } from './errors.ts';
import type { Lease } from './leases.ts';
import { checkpoints, type RunMode, type StreamName, syncPages } from './schema-sync.ts';

export type Checkpoint = typeof checkpoints.$inferSelect;
/** A pass under way: from its first cursor to the end, through any number of runs. */
export type Pass = Checkpoint & { passRunId: string; passMode: RunMode };

const selectOne = built('read_checkpoint', (orm) =>
  orm.select().from(checkpoints).where(isOfStream(checkpoints)),
);

/** Null where the stream was never read: "could not be read" throws and is never taken for that. */
export async function readCheckpoint(
  orm: Orm,
  customerId: string,
  stream: StreamName,
): Promise<Checkpoint | null> {
  const [row] = await selectOne(orm, { customerId, stream });
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
  const [[row]] = await Promise.all([
    startAt(orm, { ...lease, ...pass, startTime: pass.startTime?.toISOString() ?? null }),
    isUnderWay(old) && forgetPages(orm, old.passRunId, stream),
  ]);
  return row as Pass;
}

const startAt = built('begin_pass', (orm) => {
  // Wrapped, for an update of a conflict takes no bare placeholder.
  const given = (name: string) => sql`${sql.placeholder(name)}`;
  const values = {
    cursor: null,
    epoch: given('epoch'),
    pagesDone: 0,
    passRunId: given('runId'),
    passMode: given('mode'),
    passStartedAt: sql`now()`,
    passStartTime: given('startTime'),
    passWatermark: null,
    passPartial: false,
    passLiveRows: given('liveRows'),
    passWalk: 0,
    updatedAt: sql`now()`,
  };
  const whose = { customerId: sql.placeholder('customerId'), stream: sql.placeholder('stream') };
  return orm
    .insert(checkpoints)
    .values({ ...whose, ...values })
    .onConflictDoUpdate({ target: [checkpoints.customerId, checkpoints.stream], set: values })
    .returning();
});

/**
 * The pages of one pass form a chain: each commit names the cursor it came from. It breaks for a page that was sent behind one that did
 * not land, which nobody hears of; else where a crash of Postgres took back the latest pages under a worker's feet (or by a defect of
 * ours, which shows in that it breaks again), and the next turn goes on at the checkpoint.
 */
export class BrokenChainError extends Error {
  constructor(stream: StreamName) {
    super(`the ${stream} page does not follow what is there`);
    this.name = 'BrokenChainError';
  }
}

/** Where a pass goes on: a page's cursor (null: the first page), in which of its walks. */
export type Place = { cursor: string | null; walk: number };

/** A page, or a look at one: `pages` written, the latest time among them, and where the pass goes on (null: it is over). */
export type Progress = { pages: 0 | 1; latest: string | null; partial: boolean; to: Place | null };

/**
 * $1 to $5: which checkpoint, and where it must be: the statement fails where it is elsewhere. $6: the epoch; $7 to $9: pages, the
 * latest time, partial.
 */
const move = (changes: string) => `
WITH moved AS (UPDATE calico.checkpoints SET epoch = $6, pages_done = pages_done + $7, updated_at = now(), ${changes}
WHERE customer_id = $1 AND stream = $2 AND pass_run_id = $3 AND pass_walk = $4 AND cursor IS NOT DISTINCT FROM $5
RETURNING 1) SELECT calico.refuse('the checkpoint is elsewhere') WHERE NOT EXISTS (SELECT FROM moved)`;

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
  const meaning = (error: unknown) => (isRefused(error) ? new BrokenChainError(stream) : null);
  await (to === null
    ? Promise.all([tx.query('end_pass', END, values, meaning), forgetPages(tx.orm, passRunId, stream)])
    : tx.query('advance', GO_ON, [...values, to.cursor, to.walk], meaning));
}

async function forgetPages(orm: Orm, passRunId: string, stream: StreamName): Promise<void> {
  await deletePages(orm, { passRunId, stream });
}

const deletePages = built('forget_pages', (orm) =>
  orm
    .delete(syncPages)
    .where(
      and(
        eq(syncPages.passRunId, sql.placeholder('passRunId')),
        eq(syncPages.stream, sql.placeholder('stream')),
      ),
    ),
);
