/**
 * One turn of one customer's sync, from lease to outcome. It may be the whole run, a slice of it, or what could be done
 * before a wait; the run goes on where the checkpoint is.
 */
import type { Logger } from 'pino';
import { CalicoError, walkError } from '../calico/errors.ts';
import type { Page } from '../calico/pages.ts';
import { decide } from '../calico/response-codes.ts';
import { beginPass, isUnderWay, type Pass, readCheckpoint } from '../db/checkpoints.ts';
import { announce, completionOf } from '../db/events.ts';
import { acquireLease, holdLease } from '../db/leases.ts';
import { countLiveRows } from '../db/removals.ts';
import { endRun, noteInRun, openRun, readReceipts } from '../db/runs.ts';
import { markProvidersDown, markProvidersUp, resolveDeadLetters } from '../db/set-aside.ts';
import { takeOverPass } from '../db/takeover.ts';
import type { Begun } from './ahead.ts';
import { commitPage, type PageCommit } from './commit-page.ts';
import { createCourier } from './courier.ts';
import { settleRepeatedDeaths } from './dead-workers.ts';
import { keepDrift, watchDrift } from './drift.ts';
import { keepLease } from './keep-lease.ts';
import type { Outcome } from './outcome.ts';
import { isSecondLook } from './pass-step.ts';
import { downIn, UNNAMED, union } from './providers.ts';
import { judge } from './receipt.ts';
import { settleFailure, stopped } from './settle.ts';
import { STREAMS, type Stream } from './streams.ts';
import { putOff, type SyncDeps, type Turn } from './turn.ts';

/**
 * Syncs a customer if it is due and nobody else does. Never throws: whatever happens is in Postgres and in the outcome.
 * `stop` ends it between two pages.
 */
export async function runSync(deps: SyncDeps, customerId: string, stop: AbortSignal): Promise<Outcome> {
  const log = deps.log.child({ customerId });
  let turn: Turn | null = null;
  try {
    const taken = await takeTurn(deps, customerId, log, stop);
    if ('kind' in taken) return taken;
    turn = taken;
    return (await refresh(turn)) ?? (await syncStreams(turn)) ?? (await finish(turn));
  } catch (error) {
    return await settleFailure(deps, log, turn, error);
  } finally {
    turn?.keptLease.release();
    if (turn) await keepDrift(turn);
  }
}

/** Lease and run in one transaction; an outcome where there is nothing to do, or workers died of it too often. */
async function takeTurn(
  deps: SyncDeps,
  customerId: string,
  log: Logger,
  stop: AbortSignal,
): Promise<Turn | Outcome> {
  const { leaseMs, slicePages } = deps.settings;
  const taken = await deps.db.transaction(async (tx) => {
    const { orm } = tx;
    const lease = await acquireLease(orm, customerId, leaseMs);
    if (!lease) return null;
    const run = await openRun(orm, lease, deps.settings);
    return (await settleRepeatedDeaths(tx, deps, lease, run)) ?? { lease, run };
  });
  if (!taken)
    return { kind: 'not_run', reason: 'not due, not active, another worker is at it, or all workers wait' };
  if ('kind' in taken) {
    log.error({ ...taken }, 'dead letter');
    return taken;
  }
  const keptLease = keepLease(deps.db, taken.lease, leaseMs, stop);
  const client = deps.fleet.clientFor(deps.client, taken.lease, keptLease.signal);
  const drift = watchDrift(client);
  const courier = createCourier({ ...deps, client: drift.client }, customerId, keptLease.signal);
  return {
    ...taken,
    deps,
    log: log.child({ runId: taken.run.runId }),
    keptLease,
    courier,
    drift,
    stop,
    pagesLeft: slicePages,
  };
}

/** Asks Calico to read the providers again, once a run and stream; where it only accepted, its data must settle first. */
async function refresh(turn: Turn): Promise<Outcome | null> {
  const { deps, courier } = turn;
  for (const stream of STREAMS) {
    if (turn.run.refreshed.includes(stream.name)) continue;
    const answer = await courier.refresh(stream.refreshEndpoint);
    const refreshed = [...turn.run.refreshed, stream.name];
    const settling = turn.run.settling || answer.code === 202;
    const providersDown = union(turn.run.providersDown, answer.down.keys());
    await remember(turn, { refreshed, settling, providersDown }, answer.down);
  }
  if (!turn.run.settling || deps.settings.refreshSettleMs === 0) return null;
  await remember(turn, { settling: false });
  const reason = 'Calico accepted the refresh; its data settles';
  return putOff(turn, { why: 'settle', delayMs: deps.settings.refreshSettleMs, reason });
}

async function syncStreams(turn: Turn): Promise<Outcome | null> {
  const receipts = await turn.deps.db.run((orm) => readReceipts(orm, turn.run.runId));
  for (const stream of STREAMS) {
    if (receipts.some((receipt) => receipt.stream === stream.name && receipt.complete)) continue;
    if (turn.pagesLeft <= 0) return giveWay(turn);
    const outcome = await syncStream(turn, stream);
    if (outcome) return outcome;
  }
  return null;
}

/** Reads a stream from its checkpoint to the end of its pass, starting over once a run where the table says so. */
async function syncStream(turn: Turn, stream: Stream): Promise<Outcome | null> {
  let pass = await findPass(turn, stream);
  for (;;) {
    try {
      return await walk(turn, stream, pass);
    } catch (error) {
      const remedy = restartFor(turn, stream, error);
      if (!remedy) throw error;
      turn.log.warn({ err: error, remedy }, 'starting the pages over');
      await remember(turn, { restarted: [...turn.run.restarted, stream.name] });
      // What the pages have brought so far is new to the pass all the same.
      const { passStartTime, passLiveRows } = pass;
      pass = await startPass(turn, stream, remedy === 'restart_pages' ? passStartTime : null, passLiveRows);
    }
  }
}

type ReadPage = Pick<PageCommit, 'page' | 'prepared'>;

async function walk(turn: Turn, stream: Stream, pass: Pass): Promise<Outcome | null> {
  const { deps, lease, courier } = turn;
  const { endpoint } = stream;
  const { pageLimit: limit, keepRaw } = deps.settings;
  let expectNew = false;
  const read = async (cursor: string | null): Promise<ReadPage> => {
    const page = await courier.page({ endpoint, cursor, limit, startTime: pass.passStartTime });
    return { page, prepared: await stream.prepare(page, keepRaw, expectNew) };
  };
  let begun: Begun<ReadPage> | null = null;
  try {
    for (let at = pass; ; ) {
      const current: ReadPage = await (begun?.result() ?? read(at.cursor));
      const { page } = current;
      if (at.pagesDone >= MAX_PAGES * (at.passWalk + 1))
        throw walkError(endpoint, `the pages have no end: ${MAX_PAGES} in one walk`);
      const { nextCursor } = page;
      const mayBeLast = isSecondLook(at, page) || turn.pagesLeft <= 1 || turn.stop.aborted;
      // Asked for and read while this one is written, which is committed first all the same.
      begun = nextCursor === null || mayBeLast ? null : await deps.begin(() => read(nextCursor));
      const commit = { lease, run: turn.run, stream, pass: at, ...current };
      const { step, counts, next } = await commitPage(deps.db, commit);
      const told = step === 'stands' ? 'the first page stands' : 'page committed';
      turn.log.debug({ stream: stream.name, page: at.pagesDone, ...counts }, told);
      expectNew = counts.inserted * 2 > counts.fetched;
      noteProgress(turn, page);
      await keepDrift(turn);
      if (next === null) return null;
      at = next;
      if (turn.stop.aborted) return stopped(turn);
      if (turn.pagesLeft <= 0) return giveWay(turn);
    }
  } finally {
    await begun?.ended;
  }
}

/** The slice is used up: others first (promise 11). */
function giveWay(turn: Turn): Promise<Outcome> {
  return putOff(turn, { why: 'slice', delayMs: 0, reason: 'more pages follow' });
}

/** A walk this long is one that never ends: ten million records at 100 a page. */
const MAX_PAGES = 100_000;

/** What a committed page changes of the run; the same stands in Postgres already. */
function noteProgress(turn: Turn, page: Page): void {
  turn.pagesLeft--;
  const providersDown = union(turn.run.providersDown, downIn(page).keys());
  turn.run = { ...turn.run, attempts: 0, failures: {}, waitingSince: null, waitingFor: null, providersDown };
}

/** Keeps in Postgres and in hand what the run must not do again. */
async function remember(
  turn: Turn,
  done: Parameters<typeof noteInRun>[2],
  down: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  const { deps, lease, run } = turn;
  await deps.db.transaction(async (tx) => {
    await Promise.all([
      holdLease(tx, lease),
      markProvidersDown(tx.orm, lease.customerId, down),
      noteInRun(tx.orm, run, done),
    ]);
  });
  turn.run = { ...run, ...done };
}

/** The pass under way, or a new one: with a time window where the run is incremental and something was read before. */
async function findPass(turn: Turn, stream: Stream): Promise<Pass> {
  const { deps, lease, run } = turn;
  const checkpoint = await deps.db.run((orm) => readCheckpoint(orm, lease.customerId, stream.name));
  if (isUnderWay(checkpoint) && isWorthResuming(turn, stream, checkpoint)) {
    if (checkpoint.passRunId !== run.runId) await takeOver(turn, checkpoint);
    return checkpoint;
  }
  const watermark = stream.hasWindow && run.mode === 'incremental' ? (checkpoint?.watermark ?? null) : null;
  return startPass(turn, stream, watermark && new Date(watermark.getTime() - deps.settings.overlapMs));
}

/** The run that ends a pass answers for all of its pages, whoever read them. */
async function takeOver(turn: Turn, pass: Pass): Promise<void> {
  const { deps, lease, run } = turn;
  const providersDown = await deps.db.transaction(async (tx) => {
    await holdLease(tx, lease);
    const down = union(run.providersDown, await takeOverPass(tx.orm, run, pass));
    await noteInRun(tx.orm, run, { providersDown: down });
    return down;
  });
  turn.run = { ...run, providersDown };
}

/**
 * Another run's pass is carried on, so that a crash costs at most a page; except positions from an hour ago, which
 * would stand beside those of now, and an incremental pass where everything was asked for.
 */
function isWorthResuming({ deps, run }: Turn, stream: Stream, pass: Pass): boolean {
  if (pass.passRunId === run.runId) return true;
  if (stream.hasWindow) return run.mode === 'incremental' || pass.passMode === 'full';
  const startedMs = pass.passStartedAt?.getTime() ?? 0;
  return deps.now() - startedMs < deps.settings.syncIntervalMs;
}

/** `before`: the rows that there were, where a pass that is given up had counted them. */
async function startPass(
  { deps, lease, run }: Turn,
  stream: Stream,
  startTime: Date | null,
  before: number | null = null,
): Promise<Pass> {
  return deps.db.transaction(async (tx) => {
    const mode = stream.hasWindow ? run.mode : 'full';
    const owner = { customerId: lease.customerId, stream: stream.name };
    const [, liveRows, old] = await Promise.all([
      holdLease(tx, lease),
      startTime === null ? (before ?? countLiveRows(tx, owner)) : null,
      readCheckpoint(tx.orm, lease.customerId, stream.name),
    ]);
    return beginPass(tx.orm, lease, old, { ...owner, runId: run.runId, mode, startTime, liveRows });
  });
}

function restartFor(
  { run }: Turn,
  stream: Stream,
  error: unknown,
): 'restart_pages' | 'restart_without_window' | null {
  if (!(error instanceof CalicoError)) return null;
  const tried = {
    tokenRefreshed: true,
    restarted: run.restarted.includes(stream.name),
    attempts: run.attempts,
  };
  const decision = decide(error.failure, tried);
  return decision.do === 'restart_pages' || decision.do === 'restart_without_window' ? decision.do : null;
}

/** Judges the receipt and ends the run. */
async function finish(turn: Turn): Promise<Outcome> {
  const { deps, lease, run } = turn;
  const { runId, providersDown } = run;
  const ending = await deps.db.transaction(async (tx) => {
    const { orm } = tx;
    const receipts = await readReceipts(orm, runId);
    const judged = judge({ receipts, expected: STREAMS.map(({ name }) => name), providersDown });
    // One that is not named may be any of them.
    const isUp = judged.complete && !providersDown.includes(UNNAMED);
    await Promise.all([
      endRun(tx, lease, run, judged, deps.settings.syncIntervalMs),
      isUp && markProvidersUp(orm, lease.customerId, providersDown),
      announce(orm, ...completionOf(run, judged, receipts)),
      judged.complete && resolveDeadLetters(orm, lease.customerId),
    ]);
    return judged;
  });
  turn.log.info({ status: ending.status, reason: ending.reason, mode: run.mode }, 'sync ended');
  return { kind: 'done', runId, status: ending.status };
}
