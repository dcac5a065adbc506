/** Ends a turn that failed: asks the table what to do, writes it down, and says so to the queue. */
import type { Logger } from 'pino';
import { causeOf } from '../calico/causes.ts';
import type { Endpoint } from '../calico/contract.ts';
import { CalicoError, type Failure } from '../calico/errors.ts';
import { backoffMs, decide, type Rule, situationOf } from '../calico/response-codes.ts';
import { BrokenChainError } from '../db/checkpoints.ts';
import type { Orm } from '../db/client.ts';
import { readCredentials } from '../db/credentials.ts';
import { DatabaseError } from '../db/errors.ts';
import { readFleetPause } from '../db/fleet-pause.ts';
import { holdLease, LeaseLostError } from '../db/leases.ts';
import { endRun, markFenced, putOffLate, type Run } from '../db/runs.ts';
import type { StreamName } from '../db/schema-sync.ts';
import { addDeadLetter } from '../db/set-aside.ts';
import { NoCredentialsError } from './access-token.ts';
import { FleetPausedError } from './fleet.ts';
import type { Outcome } from './outcome.ts';
import { MOST_DATABASE_TRIES, putOff, type SyncDeps, type Turn, triesIn } from './turn.ts';

/** What is not Calico's answer: the table has no row for it. */
const OUR_RULES = {
  credentials: {
    verdict: 'dead_letter',
    fault: 'customer',
    stop: 'reauth_required',
    sentence: 'there are no credentials for this customer',
    nextStep: 'calico-sync customers add <id> with its tokens',
  },
  database: {
    verdict: 'retry',
    maxAttempts: MOST_DATABASE_TRIES,
    backoff: 'short',
    fault: 'ours',
    sentence: 'Postgres did not take what was to be written',
    nextStep: 'look at the Postgres server, then calico-sync sync <id>',
  },
  'taken back': {
    verdict: 'retry',
    maxAttempts: MOST_DATABASE_TRIES,
    backoff: 'short',
    fault: 'ours',
    sentence: 'Postgres has lost the latest pages, as in a crash',
    nextStep:
      'look at the Postgres server; if it did not crash, report it with the evidence; then calico-sync sync <id>',
  },
  defect: {
    verdict: 'retry',
    maxAttempts: 3,
    backoff: 'short',
    fault: 'ours',
    sentence: 'calico-sync itself failed',
    nextStep: 'report it with the evidence, then calico-sync sync <id>',
  },
} satisfies Record<string, Rule>;

/** Never throws. Where nothing can be written any more the lease runs out, the customer is due again, and it is said later. */
export async function settleFailure(
  deps: SyncDeps,
  log: Logger,
  turn: Turn | null,
  error: unknown,
): Promise<Outcome> {
  if (!turn) return notWritten(deps, log, null, error);
  try {
    if (isFenced(turn, error)) return await fenced(turn);
    if (turn.stop.aborted && isAborted(turn, error)) return await stopped(turn);
    return await applyVerdict(turn, error);
  } catch (second) {
    if (!(second instanceof LeaseLostError)) return notWritten(deps, turn.log, turn.run, second);
    return fenced(turn).catch((third: unknown) => notWritten(deps, turn.log, turn.run, third));
  }
}

/**
 * Says what Postgres has not heard of earlier turns, so that nobody takes their workers for dead. What it does not take of others'
 * keeps nobody but `customerId`, and is said again.
 * @throws DatabaseError
 */
export async function tellUnheard(
  { db, unheard }: Pick<SyncDeps, 'db' | 'unheard'>,
  customerId: string | null,
): Promise<void> {
  for (const run of unheard) {
    try {
      await db.transaction((tx) => putOffLate(tx, run, 'database'));
      unheard.delete(run);
    } catch (error) {
      if (run.customerId === customerId || (error instanceof DatabaseError && error.isSilence)) throw error;
    }
  }
}

/** The process stops: the run is put down where it is, for any worker to take up at once. */
export async function stopped(turn: Turn): Promise<Outcome> {
  await putOff(turn, {
    why: 'slice',
    delayMs: 0,
    reason: 'its worker stopped; it goes on at its checkpoint',
  });
  return { kind: 'stopped', runId: turn.run.runId };
}

async function fenced(turn: Turn): Promise<Outcome> {
  turn.log.warn('fenced: the lease is lost, nothing more was written');
  await turn.deps.db.run((orm) => markFenced(orm, turn.run));
  return { kind: 'fenced', runId: turn.run.runId };
}

async function applyVerdict(turn: Turn, error: unknown): Promise<Outcome> {
  const { deps, run } = turn;
  if (error instanceof FleetPausedError) return waitWithAll(turn, error);
  const rule = ruleFor(turn, error);
  const failure = error instanceof CalicoError ? error.failure : null;
  const reason = reasonOf(rule.rule, error);
  if (rule.do === 'dead_letter') return deadLetter(turn, rule.rule, error, reason);
  const situation = situationIn(error);
  if (rule.do === 'retry') {
    const tries = triesIn(run, situation);
    const delayMs = backoffMs(rule.rule, tries, failure?.retryAfterMs ?? null, deps.random);
    return putOff(turn, { why: 'retry', delayMs, reason, failedIn: situation });
  }
  const waiting = { for: situation, since: new Date(deps.now()) };
  if (run.waitingFor === waiting.for && run.waitingSince) waiting.since = run.waitingSince;
  const waitedMs = deps.now() - waiting.since.getTime();
  // The pause of all was written when the answer came, and is as long as it must be.
  const pause = await deps.db.run(readFleetPause);
  const delayMs = Math.max(LEAST_WAIT_MS, pause?.leftMs ?? 0, failure?.retryAfterMs ?? 0);
  if (waitedMs + delayMs > deps.settings.maxWaitMs) {
    return deadLetter(
      turn,
      rule.rule,
      error,
      `${reason}; waited ${Math.round(waitedMs / 60_000)} minutes for it`,
    );
  }
  return putOff(turn, { why: 'wait', delayMs, reason, waiting });
}

/** Nothing was asked: no try is spent, and its longest wait does not begin with this. */
function waitWithAll(turn: Turn, { leftMs, message }: FleetPausedError): Promise<Outcome> {
  const { waitingFor, waitingSince: since } = turn.run;
  const waiting = waitingFor !== null && since !== null ? { waiting: { for: waitingFor, since } } : {};
  return putOff(turn, { why: 'wait', delayMs: Math.max(LEAST_WAIT_MS, leftMs), reason: message, ...waiting });
}

/** Also where the pause ended while it was written: others have their turn first. */
const LEAST_WAIT_MS = 1_000;

function ruleFor({ run }: Turn, error: unknown): { do: 'wait' | 'retry' | 'dead_letter'; rule: Rule } {
  const attempts = triesIn(run, situationIn(error));
  if (error instanceof CalicoError) {
    // The remedies had their turn where they apply: the courier's token, the stream's restart.
    const decision = decide(error.failure, { tokenRefreshed: true, restarted: true, attempts });
    if ('rule' in decision) return decision;
  }
  if (error instanceof NoCredentialsError) return { do: 'dead_letter', rule: OUR_RULES.credentials };
  const rule = OUR_RULES[ownSituation(error)];
  return { do: attempts + 1 >= rule.maxAttempts ? 'dead_letter' : 'retry', rule };
}

/** What is counted and waited for: the table's row, or one of ours. */
function situationIn(error: unknown): string {
  if (error instanceof CalicoError) return String(situationOf(error.failure));
  return ownSituation(error);
}

function ownSituation(error: unknown): 'database' | 'taken back' | 'defect' {
  if (error instanceof BrokenChainError) return 'taken back';
  return error instanceof DatabaseError ? 'database' : 'defect';
}

/**
 * Evidence and the run's end in one transaction (promise 4). Null where credentials came while the old ones were being
 * refused: they have not been tried, so nobody is condemned by them.
 */
async function deadLetter(turn: Turn, rule: Rule, error: unknown, reason: string): Promise<Outcome> {
  const { deps, lease, run } = turn;
  const ending = {
    status: 'dead_lettered',
    reason,
    stop: rule.stop ?? null,
    followUp: false,
    complete: false,
  } as const;
  const deadLetterId = await deps.db.transaction(async (tx) => {
    const { orm } = tx;
    await holdLease(tx, lease);
    if (ending.stop !== null && (await haveCredentialsChanged(turn, orm))) return null;
    await endRun(tx, lease, run, ending, deps.settings.syncIntervalMs);
    const evidence = evidenceOf(error, rule);
    return addDeadLetter(orm, {
      customerId: lease.customerId,
      runId: run.runId,
      reason,
      fault: rule.fault,
      ...evidence,
    });
  });
  if (deadLetterId === null) {
    return putOff(turn, { why: 'retry', delayMs: 0, reason: 'new credentials came in the meantime' });
  }
  turn.log.error({ deadLetterId, reason, nextStep: rule.nextStep }, 'dead letter');
  return { kind: 'dead_lettered', runId: run.runId, deadLetterId, reason };
}

async function haveCredentialsChanged({ deps, lease, courier }: Turn, orm: Orm): Promise<boolean> {
  const stored = await readCredentials(orm, deps.keys, lease.customerId);
  return stored !== null && stored.accessToken !== courier.lastBearer();
}

/** What a person needs to judge the case; nothing in a `Failure` is secret. */
function evidenceOf(error: unknown, rule: Rule) {
  const { nextStep } = rule;
  if (error instanceof CalicoError) {
    const { httpStatus, code, endpoint, kind, request, detail, requestId, body }: Failure = error.failure;
    return {
      stream: STREAM_OF[endpoint],
      httpStatus,
      code,
      verdict: 'dead_letter',
      cause: causeOf(error.failure),
      evidence: { kind, request, detail, requestId, body, nextStep },
    };
  }
  const name = error instanceof Error ? error.name : typeof error;
  return {
    stream: null,
    httpStatus: null,
    code: null,
    verdict: 'dead_letter',
    cause: error instanceof NoCredentialsError ? 'no credentials' : situationIn(error),
    evidence: { kind: name, detail: messageOf(error), nextStep },
  };
}

const STREAM_OF: Record<Endpoint, StreamName | null> = {
  refreshAssets: 'assets',
  assets: 'assets',
  refreshTransactions: 'transactions',
  transactions: 'transactions',
  token: null,
};

function reasonOf(rule: Rule, error: unknown): string {
  return `${rule.sentence} (${messageOf(error)})`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'an unknown error';
}

function isFenced(turn: Turn, error: unknown): boolean {
  return turn.keptLease.isLost() || error instanceof LeaseLostError;
}

/** On its way, or while it waited for its place in the budget. */
function isAborted({ keptLease }: Turn, error: unknown): boolean {
  return (
    error === keptLease.signal.reason || (error instanceof CalicoError && error.failure.kind === 'aborted')
  );
}

/** Postgres did not take the note either: the lease ends by itself, and the customer is still due. */
function notWritten(deps: SyncDeps, log: Logger, run: Run | null, error: unknown): Outcome {
  const reason = messageOf(error);
  log.error(
    { err: error },
    'the end of a turn could not be written; the customer is due again when its lease ends',
  );
  // What Postgres heard and refused would be refused again: that run counts as its worker's death, so that it has an end.
  if (run && error instanceof DatabaseError && error.isSilence) deps.unheard.add(run);
  const notBefore = new Date(deps.now() + deps.settings.leaseMs);
  return { kind: 'failed', runId: run?.runId ?? null, notBefore, reason };
}
