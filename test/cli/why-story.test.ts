/** `why` has an answer for every status of a customer, every end of a run, every wait. */
import { describe, expect, test } from 'vitest';
import { type Facts, OVERDUE_MS, type Story, tell } from '../../src/cli/why-story.ts';
import {
  CUSTOMER_STATUSES,
  type CustomerStatus,
  RUN_STATUSES,
  type RunStatus,
} from '../../src/db/statuses.ts';

const NOW = Date.UTC(2026, 0, 2, 12);
const HOUR_MS = 60 * 60_000;
const at = (hours: number) => new Date(NOW + hours * HOUR_MS);

const customer: Facts['customer'] = {
  customerId: 'alice',
  status: 'active',
  statusReason: null,
  nextSyncAt: at(1),
  notBefore: null,
  leaseUntil: null,
};

const receipt = {
  runId: 'r1',
  stream: 'transactions',
  pages: 2,
  fetched: 150,
  inserted: 140,
  updated: 6,
  unchanged: 3,
  duplicates: 0,
  quarantined: 1,
  removed: 0,
  held: 0,
  removalNote: null,
  moving: false,
  complete: true,
  inheritedFrom: null,
  balanced: true,
} as const;

function runThat(status: RunStatus): Facts['run'] {
  const finishedAt = status === 'running' || status === 'waiting' ? null : at(-0.5);
  return {
    mode: 'full',
    status,
    startedAt: at(-1),
    finishedAt,
    reason: 'a reason',
    attempts: 0,
    streams: [],
  };
}

const quiet: Facts = {
  nowMs: NOW,
  customer,
  hasCredentials: true,
  run: runThat('succeeded'),
  deadLetter: null,
  providersDown: [],
  quarantined: 0,
  heldRemovals: 0,
  fleetPause: null,
};

/** Everything that may hold a customer back, or not. */
const WAITS = {
  none: {},
  'a wait': { notBefore: at(2) },
  'a worker at it': { leaseUntil: at(0.01), nextSyncAt: at(-1) },
  'a lease that ran out': { leaseUntil: at(-0.01), nextSyncAt: at(-1) },
  due: { nextSyncAt: at(-0.01) },
  overdue: { nextSyncAt: at(-3) },
} satisfies Record<string, Partial<Facts['customer']>>;

const ADD = 'calico-sync customers add alice';
/** What a status that is not active says and asks for; null: what the run and the wait say. */
const BY_STATUS: Record<CustomerStatus, { command: string; next: RegExp } | null> = {
  active: null,
  paused: { command: 'calico-sync customers resume alice', next: /until it is resumed/ },
  reauth_required: { command: ADD, next: /until it has new credentials/ },
  forbidden: { command: ADD, next: /until it has new credentials/ },
  not_found: { command: ADD, next: /until it has new credentials/ },
  not_authorized: { command: ADD, next: /until it has new credentials/ },
};

const BY_WAIT: Record<keyof typeof WAITS, { next: RegExp; nextAt: Date | null }> = {
  none: { next: /^The next sync begins in 1 h\.$/, nextAt: at(1) },
  'a wait': { next: /^(The run goes on|It runs again) in 2 h\.$/, nextAt: at(2) },
  'a worker at it': { next: /^A worker is at it now\.$/, nextAt: null },
  'a lease that ran out': { next: /^It is due now/, nextAt: null },
  due: { next: /^It is due now/, nextAt: null },
  overdue: { next: /^It was due 3 h ago .*is a worker running\?$/, nextAt: null },
};

const BY_RUN: Record<RunStatus | 'never', { first: RegExp; command: string | null }> = {
  never: { first: /^It has not run yet\.$/, command: null },
  running: {
    first: /began 1 h ago( and is under way|; its worker is gone without a word)\.$/,
    command: null,
  },
  waiting: { first: /was put off: a reason\.$/, command: null },
  succeeded: {
    first: /^The last run \(full\) began 1 h ago and succeeded after 30 min: a reason\.$/,
    command: null,
  },
  partial: { first: /and ended with something left open after 30 min: a reason\.$/, command: null },
  failed: { first: /and failed after/, command: 'calico-sync sync alice --full' },
  dead_lettered: { first: /and was given up after/, command: 'calico-sync dead-letters show d1' },
  fenced: { first: /and lost its lease after/, command: null },
  abandoned: { first: /and was abandoned after/, command: null },
};

const RUNS = [...RUN_STATUSES, 'never'] as const;

function factsOf(status: CustomerStatus, run: (typeof RUNS)[number], wait: keyof typeof WAITS): Facts {
  return {
    ...quiet,
    customer: {
      ...customer,
      status,
      statusReason: status === 'active' ? null : 'why it stopped',
      ...WAITS[wait],
    },
    run: run === 'never' ? null : runThat(run),
    deadLetter: run === 'dead_lettered' ? { id: 'd1', nextStep: 'look at <id>' } : null,
  };
}

describe.each(CUSTOMER_STATUSES)('%s', (status) => {
  test.each(RUNS)('last run %s, whatever it waits for', (run) => {
    for (const wait of Object.keys(WAITS) as (keyof typeof WAITS)[]) {
      const story = tell(factsOf(status, run, wait));
      expect(story.happened[0]).toMatch(BY_RUN[run].first);
      const stopped = BY_STATUS[status];
      if (stopped) {
        expect(story).toMatchObject({ nextAt: null, command: stopped.command });
        expect(story.next).toMatch(stopped.next);
        expect(story.happened.at(-1)).toBe(`It is ${status}: why it stopped.`);
      } else {
        expect(story.next).toMatch(BY_WAIT[wait].next);
        expect(story.nextAt).toEqual(BY_WAIT[wait].nextAt);
        expect(story.command).toBe(wait === 'overdue' ? 'calico-sync doctor' : BY_RUN[run].command);
      }
    }
  });
});

const cases: [string, Partial<Facts>, Partial<Story>][] = [
  [
    'a receipt in words',
    { run: { ...runThat('partial'), streams: [receipt] } as Facts['run'], quarantined: 1 },
    {
      happened: [
        expect.stringContaining('something left open'),
        'It read 150 records of transactions in 2 pages: 140 new, 6 changed, 3 as before, 1 set aside.',
        '1 record in quarantine.',
      ],
      command: 'calico-sync quarantine list --customer alice',
    },
  ],
  [
    'a stream that is not at its end, rows removed, a sum that is wrong',
    {
      run: {
        ...runThat('failed'),
        streams: [{ ...receipt, complete: false, balanced: false, removed: 2 }],
      } as Facts['run'],
    },
    {
      happened: [
        expect.any(String),
        'It read 150 records of transactions in 2 pages so far: 140 new, 6 changed, 3 as before, 1 set aside, which does not add up. 2 rows marked as removed.',
      ],
    },
  ],
  [
    'the fleet’s pause is longer than its own wait',
    { fleetPause: { until: at(3), reason: '429' } },
    {
      next: 'All workers wait for Calico: 429. It goes on in 3 h at the earliest.',
      nextAt: at(3),
      command: null,
    },
  ],
  [
    'the fleet’s pause is over before it is due',
    { fleetPause: { until: at(0.5), reason: '429' } },
    { nextAt: at(1) },
  ],
  [
    'the fleet’s pause is old enough to be asked about: it was due long ago, and is not overdue',
    { customer: { ...customer, nextSyncAt: at(-3) }, fleetPause: { until: at(-0.01), reason: '429' } },
    {
      next: 'All workers wait for Calico: 429. One customer asks whether that is over; then all go on.',
      command: null,
    },
  ],
  [
    'the fleet’s pause is long over, and nobody asks',
    { customer: { ...customer, nextSyncAt: at(-3) }, fleetPause: { until: at(-1), reason: '429' } },
    { command: 'calico-sync doctor' },
  ],
  [
    'it stopped for what its last run has said already',
    {
      run: runThat('dead_lettered'),
      customer: { ...customer, status: 'forbidden', statusReason: 'a reason' },
    },
    { happened: [expect.stringContaining('was given up after 30 min: a reason.')] },
  ],
  ['no credentials', { hasCredentials: false }, { command: ADD }],
  ['removals held', { heldRemovals: 30, quarantined: 1 }, { command: 'calico-sync removals list' }],
  [
    'a provider that is down',
    { providersDown: [{ providerId: 'kraken', cause: 'maintenance', since: at(-2) }] },
    { next: 'The next sync begins in 1 h, and looks whether the provider is back.', command: null },
  ],
  [
    'an id that a shell would read',
    { customer: { ...customer, customerId: "o'neil $x", status: 'paused' } },
    { command: `calico-sync customers resume 'o'\\''neil $x'` },
  ],
  [
    'a dead letter’s advice names the customer',
    { run: runThat('dead_lettered'), deadLetter: { id: 'd1', nextStep: 'calico-sync sync <id>' } },
    { happened: [expect.any(String), 'What a person can do: calico-sync sync alice.'] },
  ],
  [
    'tries that failed',
    { run: { ...runThat('waiting'), attempts: 3 } as Facts['run'] },
    { happened: ['The last run (full) began 1 h ago and was put off: a reason. Failed tries in a row: 3.'] },
  ],
];

test.each(cases)('%s', (_what, facts, story) => {
  expect(tell({ ...quiet, ...facts })).toMatchObject(story);
});

test('a customer is overdue only after a while', () => {
  const due = (ms: number) => tell({ ...quiet, customer: { ...customer, nextSyncAt: new Date(NOW - ms) } });
  expect(due(OVERDUE_MS).command).toBeNull();
  expect(due(OVERDUE_MS + 1).command).toBe('calico-sync doctor');
});
