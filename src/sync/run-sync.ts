/**
 * One turn of one customer's sync, from lease to outcome. It may be the whole run, a slice of it, or what could be done
 * before a wait; the run goes on where the checkpoint is.
 */
import type { Logger } from 'pino';
import { CalicoError } from '../calico/errors.ts';
import { decide } from '../calico/response-codes.ts';
import { beginPass, type Checkpoint, isUnderWay, type Pass, readCheckpoint } from '../db/checkpoints.ts';
import type { Transaction } from '../db/client.ts';
import { announce, completionOf } from '../db/events.ts';
import { acquireLease, holdLease } from '../db/leases.ts';
import { openRun } from '../db/open-run.ts';
import { countLiveRows } from '../db/removals.ts';
import { endRun, noteInRun, readReceipts } from '../db/runs.ts';
import { markProvidersDown, markProvidersUp, resolveDeadLetters } from '../db/set-aside.ts';
import { takeOverPass } from '../db/takeover.ts';
import { createCourier } from './courier.ts';
import { settleHopeless } from './dead-workers.ts';
import { keepDrift, watchDrift } from './drift.ts';
import { keepLease } from './keep-lease.ts';
import type { Outcome } from './outcome.ts';
import { UNNAMED, union } from './providers.ts';
import { judge } from './receipt.ts';
import { settleFailure, tellUnheard } from './settle.ts';
import { STREAMS, type Stream } from './streams.ts';
import { giveWay, putOff, type SyncDeps, type Turn } from './turn.ts';
import { walk } from './walk.ts';

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
  await tellUnheard(deps, customerId);
  const taken = await deps.db.transaction(async (tx) => {
    const { orm } = tx;
    const lease = await acquireLease(orm, customerId, leaseMs);
    if (!lease) return null;
    const run = await openRun(orm, lease, deps.settings);
    const [hopeless, receipts] = await Promise.all([
      settleHopeless(tx, deps, lease, run),
      readReceipts(orm, run.runId),
    ]);
    const alreadyRead = receipts.filter(({ complete }) => complete).map(({ stream }) => stream);
    return hopeless ?? { lease, run, alreadyRead };
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
  for (const stream of STREAMS) {
    if (turn.alreadyRead.includes(stream.name)) continue;
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
      const startTime = remedy === 'restart_pages' ? pass.passStartTime : null;
      pass = await startPass(turn, stream, pass, startTime, pass.passLiveRows);
    }
  }
}

/**
 * Keeps in Postgres and in hand what the run should not do again. It does not wait for the disk: what a crash of Postgres takes back is
 * done again. Who is down does, for a worker that lives on would not hear of it again.
 */
async function remember(
  turn: Turn,
  done: Parameters<typeof noteInRun>[2],
  down: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  const { deps, lease, run } = turn;
  const remembered = async (tx: Transaction) => {
    const sent = [
      holdLease(tx, lease),
      markProvidersDown(tx.orm, lease.customerId, down),
      noteInRun(tx.orm, run, done),
    ];
    tx.commitWith(Promise.all(sent));
  };
  await deps.db.transaction(remembered, { waitsForDisk: down.size > 0 });
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
  const startTime = watermark && new Date(watermark.getTime() - deps.settings.overlapMs);
  return startPass(turn, stream, checkpoint, startTime);
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

/**
 * In place of what was under way at the `old` checkpoint. `before`: the rows that there were, where a pass that is given up had counted
 * them. It does not wait for the disk: what comes of it is not there without it.
 */
async function startPass(
  { deps, lease, run }: Turn,
  stream: Stream,
  old: Checkpoint | null,
  startTime: Date | null,
  before: number | null = null,
): Promise<Pass> {
  const mode = stream.hasWindow ? run.mode : 'full';
  const owner = { customerId: lease.customerId, stream: stream.name };
  const { promise, resolve } = Promise.withResolvers<Pass>();
  const start = async (tx: Transaction) => {
    const hold = holdLease(tx, lease);
    const mustCount = startTime === null && before === null;
    const [liveRows] = mustCount ? await Promise.all([countLiveRows(tx, owner), hold]) : [before];
    const begun = beginPass(tx.orm, lease, old, { ...owner, runId: run.runId, mode, startTime, liveRows });
    tx.commitWith(Promise.all([hold, begun.then(resolve)]));
  };
  await deps.db.transaction(start, { waitsForDisk: false });
  return promise;
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
    const sent = [
      endRun(tx, lease, run, judged, deps.settings.syncIntervalMs),
      isUp && markProvidersUp(orm, lease.customerId, providersDown),
      announce(orm, ...completionOf(run, judged, receipts)),
      judged.complete && resolveDeadLetters(orm, lease.customerId),
    ];
    tx.commitWith(Promise.all(sent));
    return judged;
  });
  turn.log.info({ status: ending.status, reason: ending.reason, mode: run.mode }, 'sync ended');
  return { kind: 'done', runId, status: ending.status };
}
