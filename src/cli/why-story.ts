/**
 * The story of a customer: what its last run did, what happens next and when, and the one command that would help.
 * A pure function over the facts; each status of a customer and of a run has its sentence, or it does not compile.
 */
import type { Customer } from '../db/customers.ts';
import type { Receipt, Run } from '../db/runs.ts';
import type { CustomerStatus, RunStatus } from '../db/statuses.ts';
import { count, formatDuration, formatTime, shellWord } from './format.ts';
import { plain } from './output.ts';

/** Everything the story is told from. `nowMs` is by the clock of the database, as all its times are. */
export type Facts = {
  nowMs: number;
  customer: Pick<
    Customer,
    'customerId' | 'status' | 'statusReason' | 'nextSyncAt' | 'notBefore' | 'leaseUntil'
  >;
  hasCredentials: boolean;
  /** The last one. */
  run: LastRun | null;
  /** The last run's, while nobody replayed or discarded it. `nextStep`: what a person can do, `<id>` for the customer. */
  deadLetter: { id: string; nextStep: string | null } | null;
  providersDown: readonly { providerId: string; cause: string | null; since: Date }[];
  /** Records that are set aside still. */
  quarantined: number;
  /** Rows that a full pass did not find any more and that are kept until a person decides. */
  heldRemovals: number;
  /** All workers wait for Calico; null where they do not. */
  fleetPause: { until: Date; reason: string } | null;
};

export type LastRun = Pick<Run, 'mode' | 'status' | 'startedAt' | 'finishedAt' | 'reason' | 'attempts'> & {
  streams: readonly Receipt[];
};

export type Story = {
  /** What happened, a sentence each. */
  happened: string[];
  next: string;
  /** When; null: now, or not before somebody acts. */
  nextAt: Date | null;
  /** The one command that would help; null: nothing to do. */
  command: string | null;
};

export function tell(facts: Facts): Story {
  const { customer, run } = facts;
  const { next, at = null } = NEXT[situationOf(facts)](facts);
  return {
    happened: [
      ...(run ? [LAST_RUN[run.status](run, facts), ...run.streams.map(readingOf)] : ['It has not run yet.']),
      ...stillOpen(facts),
      ...stoppedFor(facts),
    ],
    next,
    nextAt: at,
    command: customer.status === 'active' ? helpWhileActive(facts) : RESTART[customer.status](facts),
  };
}

/** Why it stopped, unless its last run has said just that. */
function stoppedFor({ customer: { status, statusReason }, run }: Facts): string[] {
  if (status === 'active' || statusReason === null || statusReason === run?.reason) return [];
  return [`It is ${status}${because(statusReason)}.`];
}

// --- what happened ------------------------------------------------------------------------------------------

const because = (reason: string | null) => (reason ? `: ${plain(reason).replace(/\.$/, '')}` : '');

const began = ({ mode, startedAt }: LastRun, nowMs: number) =>
  `The last run (${mode}) began ${formatTime(startedAt, nowMs)}`;

const ended = (how: string) => (run: LastRun, facts: Facts) => {
  const ms = run.finishedAt && run.finishedAt.getTime() - run.startedAt.getTime();
  return `${began(run, facts.nowMs)} and ${how}${ms === null ? '' : ` after ${formatDuration(ms)}`}${because(run.reason)}.`;
};

const LAST_RUN: Record<RunStatus, (run: LastRun, facts: Facts) => string> = {
  succeeded: ended('succeeded'),
  partial: ended('ended with something left open'),
  failed: ended('failed'),
  dead_lettered: ended('was given up'),
  fenced: ended('lost its lease'),
  abandoned: ended('was abandoned'),
  running: (run, facts) =>
    `${began(run, facts.nowMs)}${isHeld(facts) ? ' and is under way' : '; its worker is gone without a word'}.`,
  waiting: (run, { nowMs }) =>
    `${began(run, nowMs)} and was put off${because(run.reason)}.${run.attempts > 0 ? ` Failed tries in a row: ${run.attempts}.` : ''}`,
};

/** One stream's receipt as a sentence. */
function readingOf(receipt: Receipt): string {
  const { stream, pages, fetched, inserted, updated, unchanged, duplicates, quarantined, removed } = receipt;
  if (receipt.inheritedFrom) return `The ${stream} had been read by a run whose worker was killed.`;
  const parts = [
    `${inserted} new`,
    `${updated} changed`,
    `${unchanged} as before`,
    ...(duplicates > 0 ? [`${duplicates} repeated`] : []),
    ...(quarantined > 0 ? [`${quarantined} set aside`] : []),
  ];
  const sum = receipt.balanced ? parts.join(', ') : `${parts.join(', ')}, which does not add up`;
  const soFar = receipt.complete ? '' : ' so far';
  const gone = removed > 0 ? ` ${count(removed, 'row')} marked as removed.` : '';
  return `It read ${count(fetched, 'record')} of ${stream} in ${count(pages, 'page')}${soFar}: ${sum}.${gone}`;
}

function stillOpen(facts: Facts): string[] {
  const { nowMs, deadLetter, providersDown, quarantined } = facts;
  const advice = deadLetter?.nextStep?.replaceAll('<id>', word(facts));
  return [
    ...(advice ? [`What a person can do: ${plain(advice)}.`] : []),
    ...providersDown.map(
      ({ providerId, cause, since }) =>
        `Provider ${plain(providerId)} went down ${formatTime(since, nowMs)}${because(cause)}. What it missed is read again when it is back.`,
    ),
    ...(quarantined > 0 ? [`${count(quarantined, 'record')} in quarantine.`] : []),
    ...(facts.heldRemovals > 0
      ? [`${count(facts.heldRemovals, 'row')} kept although Calico no longer lists them.`]
      : []),
    ...(facts.hasCredentials ? [] : ['There are no credentials for it.']),
  ];
}

// --- what happens next --------------------------------------------------------------------------------------

type Situation = 'stopped' | 'held' | 'fleet_paused' | 'waiting' | 'scheduled' | 'due' | 'overdue';

/** A tick takes seconds, and a busy fleet its time; a customer that is due for longer is one that nobody works for. */
export const OVERDUE_MS = 5 * 60_000;

function situationOf({ nowMs, customer, fleetPause, ...facts }: Facts): Situation {
  if (customer.status !== 'active') return 'stopped';
  if (isHeld({ nowMs, customer })) return 'held';
  const { nextSyncAt, notBefore } = customer;
  const dueMs = dueAt({ customer }).getTime();
  const pausedMs = fleetPause?.until.getTime() ?? 0;
  // A lease that ran out was somebody's until then, and a pause everybody's.
  const free = [dueMs, pausedMs, customer.leaseUntil?.getTime() ?? 0, facts.run?.startedAt.getTime() ?? 0];
  if (nowMs - Math.max(...free) > OVERDUE_MS) return 'overdue';
  if (fleetPause && dueMs < Math.max(nowMs, pausedMs)) return 'fleet_paused';
  if (dueMs > nowMs) return notBefore && notBefore > nextSyncAt ? 'waiting' : 'scheduled';
  return 'due';
}

function isHeld({ nowMs, customer }: Pick<Facts, 'nowMs' | 'customer'>): boolean {
  return (customer.leaseUntil?.getTime() ?? 0) > nowMs;
}

function dueAt({ customer: { nextSyncAt, notBefore } }: Pick<Facts, 'customer'>): Date {
  return notBefore && notBefore > nextSyncAt ? notBefore : nextSyncAt;
}

const NEXT: Record<Situation, (facts: Facts) => { next: string; at?: Date }> = {
  stopped: ({ customer }) => ({
    next:
      customer.status === 'paused'
        ? 'Nothing, until it is resumed; it then goes on at its checkpoint.'
        : 'Nothing, until it has new credentials; it then goes on at its checkpoint.',
  }),
  held: () => ({ next: 'A worker is at it now.' }),
  fleet_paused: ({ fleetPause, nowMs }) => ({
    next: `All workers wait for Calico${because(fleetPause?.reason ?? null)}. ${whenItGoesOn(fleetPause?.until ?? null, nowMs)}`,
    ...(fleetPause ? { at: fleetPause.until } : {}),
  }),
  waiting: (facts) => ({
    next: `${facts.run?.status === 'waiting' ? 'The run goes on' : 'It runs again'} ${formatTime(dueAt(facts), facts.nowMs)}.`,
    at: dueAt(facts),
  }),
  scheduled: (facts) => ({
    next: `The next sync begins ${formatTime(dueAt(facts), facts.nowMs)}${facts.providersDown.length > 0 ? ', and looks whether the provider is back' : ''}.`,
    at: dueAt(facts),
  }),
  due: () => ({ next: 'It is due now: a worker takes it up within seconds, where one runs.' }),
  overdue: (facts) => ({
    next: `It was due ${formatTime(dueAt(facts), facts.nowMs)} and nobody works on it: is a worker running?`,
  }),
};

function whenItGoesOn(until: Date | null, nowMs: number): string {
  return until && until.getTime() > nowMs
    ? `It goes on ${formatTime(until, nowMs)} at the earliest.`
    : 'One customer asks whether that is over; then all go on.';
}

// --- what helps ---------------------------------------------------------------------------------------------

const word = ({ customer }: Facts) => shellWord(customer.customerId);
const newTokens = (facts: Facts) => `calico-sync customers add ${word(facts)}`;

const RESTART: Record<Exclude<CustomerStatus, 'active'>, (facts: Facts) => string> = {
  paused: (facts) => `calico-sync customers resume ${word(facts)}`,
  reauth_required: newTokens,
  forbidden: newTokens,
  not_found: newTokens,
  not_authorized: newTokens,
};

/** The most urgent first: without a token or a worker nothing else helps. */
function helpWhileActive(facts: Facts): string | null {
  if (!facts.hasCredentials) return newTokens(facts);
  if (situationOf(facts) === 'overdue') return 'calico-sync doctor';
  if (facts.deadLetter) return `calico-sync dead-letters show ${facts.deadLetter.id}`;
  if (facts.run?.status === 'failed') return `calico-sync sync ${word(facts)} --full`;
  if (facts.heldRemovals > 0) return 'calico-sync removals list';
  if (facts.quarantined > 0) return `calico-sync quarantine list --customer ${word(facts)}`;
  return null;
}
