import type { Logger } from 'pino';
import type { CalicoClient } from '../calico/client.ts';
import type { OAuthClient } from '../calico/tokens.ts';
import type { Database } from '../db/client.ts';
import type { Lease } from '../db/leases.ts';
import { type Run, suspendRun } from '../db/runs.ts';
import type { StreamName } from '../db/schema-sync.ts';
import type { KeyRing } from '../db/vault.ts';
import type { Begin } from './ahead.ts';
import type { Courier } from './courier.ts';
import type { DriftWatch } from './drift.ts';
import type { Fleet } from './fleet.ts';
import type { KeptLease } from './keep-lease.ts';
import type { Outcome } from './outcome.ts';

export type SyncSettings = {
  /** Records a page. */
  pageLimit: number;
  /** Pages, after which the customer gives its worker's place to whoever waits. */
  slicePages: number;
  /** How long a lease lasts unless it is renewed; a dead worker's customer is taken over after it. */
  leaseMs: number;
  syncIntervalMs: number;
  fullSyncIntervalMs: number;
  /** How far an incremental pass looks back behind the watermark. */
  overlapMs: number;
  /** From an accepted refresh (202) to the first page. */
  refreshSettleMs: number;
  /** The longest wait for the same thing. */
  maxWaitMs: number;
  keepRaw: boolean;
};

/** Everything a sync needs from outside; nothing in this folder opens, reads the environment or looks at a clock. */
export type SyncDeps = {
  db: Database;
  client: CalicoClient;
  fleet: Fleet;
  oauth: OAuthClient;
  keys: KeyRing;
  begin: Begin;
  /** Does anybody wait for a worker's place? */
  isAnyoneWaiting: () => Promise<boolean>;
  /** Of this process: runs whose turns ended while Postgres could not be told how. The next turn, whoever's, says so. */
  unheard: Set<Run>;
  settings: SyncSettings;
  log: Logger;
  now: () => number;
  random: () => number;
};

/** One turn under way: the lease that allows it and the run that it carries on. */
export type Turn = {
  deps: SyncDeps;
  log: Logger;
  lease: Lease;
  keptLease: KeptLease;
  run: Run;
  /** Streams that the run had read to the end when the turn began. */
  alreadyRead: readonly StreamName[];
  courier: Courier;
  drift: DriftWatch;
  stop: AbortSignal;
  /** Of the slice, without those that were taken, landed or not. */
  pagesLeft: number;
};

/** A reason to go on later, and what is remembered of it. */
export type PutOff = {
  why: Extract<Outcome, { kind: 'later' }>['why'];
  delayMs: number;
  reason: string;
  /** The situation in which one more try has failed. */
  failedIn?: string;
  /** What is waited for, where the wait is bounded. */
  waiting?: { for: string; since: Date };
};

/** Tries that Postgres fails before a person has to look at it. */
export const MOST_DATABASE_TRIES = 8;

/** Failed tries of one situation since the last page landed: two network failures say nothing of an unreadable answer. */
export function triesIn({ failures }: Pick<Run, 'failures'>, situation: string): number {
  return failures[situation] ?? 0;
}

/** Puts the run off and gives back the lease and the worker's place. */
export async function putOff(
  turn: Turn,
  { why, delayMs, reason, failedIn, waiting }: PutOff,
): Promise<Outcome> {
  const { deps, lease, run } = turn;
  await deps.db.transaction((tx) =>
    suspendRun(tx, lease, run, {
      reason,
      delayMs,
      attempts: failedIn === undefined ? run.attempts : run.attempts + 1,
      failures:
        failedIn === undefined ? run.failures : { ...run.failures, [failedIn]: triesIn(run, failedIn) + 1 },
      waitingFor: waiting?.for ?? null,
      waitingSince: waiting?.since ?? null,
    }),
  );
  turn.log.info({ why, delayMs, reason }, 'sync goes on later');
  return { kind: 'later', runId: run.runId, why, notBefore: new Date(deps.now() + delayMs), reason };
}

/**
 * Where this page is the last of its slice and nobody waits, another slice follows: a turn's end, its way through the queue and
 * its beginning cost as much as five pages.
 */
export async function prolong(turn: Turn): Promise<void> {
  if (turn.pagesLeft > 0 || (await turn.deps.isAnyoneWaiting())) return;
  turn.pagesLeft += turn.deps.settings.slicePages;
}

/** The slice is used up: others first (promise 11). */
export function giveWay(turn: Turn): Promise<Outcome> {
  return putOff(turn, { why: 'slice', delayMs: 0, reason: 'more pages follow' });
}
