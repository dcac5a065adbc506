/**
 * Dead letters that no turn can write: about workers that die of a customer, about turns whose ends Postgres never hears, and
 * about jobs that name nobody.
 * Deaths are counted twice, for each count sees what the other misses. Postgres counts runs that were left without a
 * word: a worker that takes such a job over mostly finds the dead one's lease, so that the job ends and the next one
 * starts its count at nothing. The queue counts what happens to one job, be it before a run has begun.
 */
import { isUnderWay, readCheckpoint } from '../db/checkpoints.ts';
import type { Orm, Transaction } from '../db/client.ts';
import { countDeathsBefore, seizeLease, WORKERS_DIED } from '../db/deaths.ts';
import type { Lease } from '../db/leases.ts';
import { openRun } from '../db/open-run.ts';
import { endRun, type Run } from '../db/runs.ts';
import { STREAMS } from '../db/schema-sync.ts';
import { addDeadLetter } from '../db/set-aside.ts';
import type { Outcome } from './outcome.ts';
import { MOST_DATABASE_TRIES, type SyncDeps, triesIn } from './turn.ts';

/**
 * Deaths in a row that make a dead letter. Each takes the other customers of its process with it; and a process that is
 * killed for another reason does so four times before its customers wait for their next turn.
 */
const MOST_DEATHS = 4;

type Context = Pick<SyncDeps, 'settings'>;

/** Ends a run that was just opened where there is no sense in going on with it; null where there is. */
export async function settleHopeless(
  tx: Transaction,
  deps: Context,
  lease: Lease,
  run: Run,
): Promise<Outcome | null> {
  const losses = triesIn(run, 'database');
  if (losses >= MOST_DATABASE_TRIES) return giveUp(tx, deps, lease, run, postgresLost(losses));
  const deaths = await countDeathsBefore(tx, run);
  return deaths < MOST_DEATHS ? null : giveUp(tx, deps, lease, run, workersDied(deaths));
}

/**
 * Ends what a customer's job was about, whose workers died `deaths` times, in the name of whoever is left to hear of it.
 * Never throws: where Postgres does not take it, the outcome says when to come again.
 */
export function settleDeadJob(deps: SyncDeps, customerId: string, deaths: number): Promise<Outcome> {
  return written(deps, async (tx) => {
    const { orm } = tx;
    const lease = await seizeLease(orm, customerId, deps.settings.leaseMs);
    if (!lease) return { kind: 'not_run', reason: 'the customer is unknown or not active, or all is done' };
    return giveUp(tx, deps, lease, await openRun(orm, lease, deps.settings), workersDied(deaths));
  });
}

/** Keeps what is known of a job that names no customer; `shape` says what it held and quotes no value. Never throws. */
export function settleUnreadableJob(deps: SyncDeps, jobId: string, shape: string): Promise<Outcome> {
  const reason = 'a job in the queue names no customer';
  return written(deps, async ({ orm }) => {
    const deadLetterId = await addDeadLetter(orm, {
      customerId: '',
      runId: null,
      verdict: 'dead_letter',
      cause: 'unreadable job',
      reason,
      fault: 'ours',
      evidence: { kind: 'UnreadableJob', jobId, shape, nextStep: 'find out who else writes to the queue' },
    });
    return { kind: 'dead_lettered', runId: '', deadLetterId, reason };
  });
}

type Despair = { cause: string; reason: string; evidence: object };

function workersDied(deaths: number): Despair {
  const reason = `workers died of this customer ${deaths} times in a row`;
  const nextStep =
    'look at the worker’s memory and its last log lines of this customer, then calico-sync sync <id>';
  const evidence = { kind: 'WorkersDied', detail: reason, deaths, nextStep };
  return { cause: WORKERS_DIED, reason, evidence };
}

/** Whoever's page it is that Postgres dies of, it must not do so for ever. */
function postgresLost(losses: number): Despair {
  const reason = `Postgres failed ${losses} tries in a row before a page of this customer had landed`;
  const nextStep = 'look at the log of the Postgres server, then calico-sync sync <id>';
  return { cause: 'database', reason, evidence: { kind: 'PostgresLost', detail: reason, losses, nextStep } };
}

async function giveUp(
  tx: Transaction,
  { settings }: Context,
  lease: Lease,
  run: Run,
  { cause, reason, evidence }: Despair,
): Promise<Outcome> {
  const { runId } = run;
  const { customerId } = lease;
  const at = await whereabouts(tx.orm, customerId);
  const ending = { status: 'dead_lettered', reason, stop: null, followUp: false, complete: false } as const;
  await endRun(tx, lease, run, ending, settings.syncIntervalMs);
  const deadLetterId = await addDeadLetter(tx.orm, {
    ...{ customerId, runId, cause, reason },
    verdict: 'dead_letter',
    fault: 'ours',
    evidence: { ...evidence, at },
  });
  return { kind: 'dead_lettered', runId, deadLetterId, reason };
}

/** The pages that are next, for whoever looks for the one that kills. */
async function whereabouts(orm: Orm, customerId: string): Promise<string[]> {
  const at: string[] = [];
  for (const stream of STREAMS) {
    const checkpoint = await readCheckpoint(orm, customerId, stream);
    if (isUnderWay(checkpoint)) at.push(`${stream}, page ${checkpoint.pagesDone + 1}`);
  }
  return at;
}

async function written(deps: SyncDeps, write: (tx: Transaction) => Promise<Outcome>): Promise<Outcome> {
  try {
    const outcome = await deps.db.transaction(write);
    if (outcome.kind === 'dead_lettered') deps.log.error({ ...outcome }, 'dead letter');
    return outcome;
  } catch (err) {
    deps.log.error({ err }, 'a dead letter could not be written; its job is tried again');
    const notBefore = new Date(deps.now() + deps.settings.leaseMs);
    const reason = err instanceof Error ? err.message : 'an unknown error';
    return { kind: 'failed', runId: null, notBefore, reason };
  }
}
