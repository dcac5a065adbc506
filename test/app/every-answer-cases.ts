/**
 * Every answer at every endpoint, and what it must leave behind: written down by hand from the table in
 * response-codes.md, not derived from the code. A fault lasts until the run is over.
 */
import type { FaultAnswer } from '../../src/sandbox/faults.ts';
import { position, transaction } from '../support/records.ts';
import type { World } from '../support/world.ts';

/** In the order in which a run asks them; the token first where the stored one has ended. */
export const ENDPOINTS = ['token', 'refreshAssets', 'refreshTransactions', 'assets', 'transactions'] as const;
export type Endpoint = (typeof ENDPOINTS)[number];

/** What a run leaves behind; `requests` by endpoint, `waitedS` the sum of its waits, with every random number a half. */
export type Leaves = {
  run: string;
  customer: string;
  deadLetter: { code: number | null; fault: string } | null;
  provider: 'down' | null;
  requests: Partial<Record<Endpoint, number>>;
  waitedS: number;
};

export type Case = {
  /** Also the customer's id. */
  name: string;
  endpoint: Endpoint;
  /** The second page (which has a cursor), or the second run (which has a time window). */
  at: 'first page' | 'second page' | 'second run';
  /** How many answers are spoiled; all where it is left out. */
  times?: number;
  answer: (world: World, customerId: string) => FaultAnswer;
  leaves: Leaves;
};

/** What is asked at the endpoint itself, and how it ends. */
type Verdict = {
  times: number;
  code?: number | null;
  fault?: string;
  customer?: string;
  waitedS?: number;
  tokens?: number;
};

const dead = (fault: string, customer = 'active'): Verdict => ({ times: 1, fault, customer });
const reauthenticate: Verdict = { times: 2, tokens: 1, fault: 'customer', customer: 'reauth_required' };
/** Eight tries; between them half of 2 s, 4 s, … 128 s, or half of 1, 2, 4, … 32 and at most 60 minutes. */
const eightTries = (fault: string): Verdict => ({ times: 8, fault, waitedS: 127 });
const eightSlowTries = (fault: string): Verdict => ({ times: 8, fault, waitedS: 3690 });
const threeTries = (fault: string): Verdict => ({ times: 3, fault, waitedS: 3 });

/** The documented codes that refuse; 429 and 503 are waited for. */
export const REFUSALS: Record<number, Verdict> = {
  400: dead('ours'),
  401: reauthenticate,
  403: dead('customer', 'forbidden'),
  404: dead('ours'),
  500: eightTries('calico'),
  501: eightSlowTries('calico'),
  601: dead('customer', 'not_found'),
  602: dead('customer', 'not_authorized'),
  603: reauthenticate,
  701: dead('customer'),
  702: dead('ours'),
  703: dead('ours'),
};

/** The token endpoint's 401 and 403 are about this installation; its 603 has no token that could be refreshed first. */
const AT_TOKEN: Record<number, Verdict> = {
  401: eightSlowTries('ours'),
  403: eightSlowTries('ours'),
  603: dead('customer', 'reauth_required'),
};

/** The refresh token is spent and its successor lost: the second try hears so. (Its request is nobody's, and not counted.) */
const CUT_AT_TOKEN: Verdict = { ...dead('customer', 'reauth_required'), code: 603, waitedS: 1 };

export const SUCCESSES = [200, 201, 202, 206] as const;
export const WAITS = [429, 503] as const;

const UNDOCUMENTED: Record<number, Verdict> = {
  204: threeTries('unknown'),
  302: threeTries('unknown'),
  402: threeTries('unknown'),
  418: threeTries('unknown'),
  502: eightTries('calico'),
  504: eightTries('calico'),
  599: eightTries('calico'),
  600: threeTries('unknown'),
  604: threeTries('unknown'),
  999: threeTries('unknown'),
};

const UNREADABLE: Record<string, FaultAnswer> = {
  'an answer that is not JSON': { rawBody: '<html>' },
  'an answer that is too large': { rawBody: `{"data":{},"x":"${'x'.repeat(100_000)}"}` },
  'an answer without its data': { rawBody: '{"page":{}}' },
  'an unknown code in the body': { bodyCode: 999 },
};

/** Where a code stands: as the HTTP status alone, in the body of a success, in the body of another failure. */
const CARRIERS: Record<string, (code: number) => FaultAnswer> = {
  status: (status) => ({ status, body: { message: 'no code in here' } }),
  'body of a 200': (bodyCode) => ({ bodyCode }),
  'body of a 502': (bodyCode) => ({ bodyCode, status: 502 }),
};

/** Everything that ends a run, or does not disturb it. */
export function endings(): Case[] {
  return ENDPOINTS.flatMap((endpoint) => [
    ...refusals(endpoint),
    ...successes(endpoint),
    ...Object.entries(UNDOCUMENTED).map(([code, verdict]) =>
      failure(
        endpoint,
        `${code} in the status`,
        { status: Number(code), body: {} },
        { ...verdict, code: +code },
      ),
    ),
    ...Object.entries(UNREADABLE).map(([what, answer]) =>
      failure(endpoint, what, answer, { ...threeTries('calico'), code: 200 }),
    ),
    failure(
      endpoint,
      'an answer cut short',
      { truncate: 5 },
      endpoint === 'token' ? CUT_AT_TOKEN : { ...threeTries('calico'), code: 200 },
    ),
    failure(
      endpoint,
      'a connection that is reset',
      { reset: true },
      { ...eightTries('network'), code: null },
    ),
  ]).concat(restarts());
}

function refusals(endpoint: Endpoint): Case[] {
  return Object.entries(REFUSALS).flatMap(([key, verdict]) => {
    const code = Number(key);
    const own = endpoint === 'token' ? (AT_TOKEN[code] ?? verdict) : verdict;
    return Object.entries(CARRIERS).map(([carrier, answer]) =>
      failure(endpoint, `${code} in the ${carrier}`, answer(code), { ...own, code }),
    );
  });
}

function failure(endpoint: Endpoint, what: string, answer: FaultAnswer, verdict: Verdict): Case {
  const { times, fault = '', code = null, customer = 'active', waitedS = 0, tokens = 0 } = verdict;
  const before = ENDPOINTS.slice(1, Math.max(1, ENDPOINTS.indexOf(endpoint)));
  const requests: Leaves['requests'] = Object.fromEntries(before.map((name) => [name, 1]));
  if (tokens > 0) requests.token = tokens;
  requests[endpoint] = times;
  return {
    name: `${what} at ${endpoint}`,
    endpoint,
    at: 'first page',
    answer: () => answer,
    leaves: {
      run: 'dead_lettered',
      customer,
      deadLetter: { code, fault },
      provider: null,
      requests,
      waitedS,
    },
  };
}

/** What a whole run asks, a page a stream. */
const ONCE_EACH = { refreshAssets: 1, refreshTransactions: 1, assets: 1, transactions: 1 };
const KRAKEN_IS_DOWN = [{ provider_id: 'kraken', cause: 'maintenance' }];

function successes(endpoint: Endpoint): Case[] {
  return SUCCESSES.flatMap((code) => {
    const missing = code === 206 && endpoint !== 'token';
    const settles = code === 202 && endpoint.startsWith('refresh');
    const leaves: Leaves = {
      run: missing ? 'partial' : 'succeeded',
      customer: 'active',
      deadLetter: null,
      provider: missing ? 'down' : null,
      requests: { ...ONCE_EACH, ...(endpoint === 'token' ? { token: 1 } : {}) },
      waitedS: settles ? 5 : 0,
    };
    const one = (carrier: string, answer: Case['answer']): Case => ({
      name: `${code} in the ${carrier} at ${endpoint}`,
      endpoint,
      at: 'first page',
      answer,
      leaves,
    });
    const inBody = (status: number): Case['answer'] => {
      return (world, customerId) => ({ status, rawBody: wholeAnswer(code, endpoint, world, customerId) });
    };
    return [
      one('status', () => (missing ? { partial: KRAKEN_IS_DOWN } : { status: code })),
      one('body of a 200', inBody(200)),
      one('body of a 502', inBody(502)),
    ];
  });
}

/** The true answer with a code in its body. */
function wholeAnswer(code: number, endpoint: Endpoint, world: World, customerId: string): string {
  const errors = code === 206 ? { errors: KRAKEN_IS_DOWN } : {};
  if (endpoint === 'token') return JSON.stringify({ code, ...world.sandbox.issueTokens(customerId) });
  const records = { assets: RECORDS.assets, transactions: RECORDS.transactions };
  const data = endpoint === 'assets' || endpoint === 'transactions' ? { [endpoint]: records[endpoint] } : {};
  return JSON.stringify({ code, data, page: { next_cursor: null, has_more: false }, ...errors });
}

/** What each customer has at Calico: a page of assets, and with pages of two, one page of transactions or two. */
export const RECORDS = { assets: [position('BTC', '1.5')], transactions: [transaction('send', 't1')] };
export const SECOND_PAGE = [transaction('send', 't2'), transaction('send', 't3')];

/** Told once to come back in two minutes, all workers do, and the run goes on: one at a time, for each stops the others. */
export function waits(): Case[] {
  const headers = { 'retry-after': '120' };
  return ENDPOINTS.flatMap((endpoint) =>
    WAITS.flatMap((code) =>
      Object.entries(CARRIERS).map(
        ([carrier, answer]): Case => ({
          name: `${code} in the ${carrier} at ${endpoint}`,
          endpoint,
          at: 'first page',
          times: 1,
          answer: () => ({ ...answer(code), headers }) as FaultAnswer,
          leaves: {
            run: 'succeeded',
            customer: 'active',
            deadLetter: null,
            provider: null,
            requests: { ...ONCE_EACH, [endpoint]: 2 },
            waitedS: 120,
          },
        }),
      ),
    ),
  );
}

/** What has a remedy where the request had a cursor or a time window. */
function restarts(): Case[] {
  const restarted = (code: number, at: Case['at'], requests: Leaves['requests']) =>
    Object.entries(CARRIERS).map(
      ([carrier, answer]): Case => ({
        name: `${code} in the ${carrier} at the ${at} of transactions`,
        endpoint: 'transactions',
        at,
        answer: () => answer(code),
        leaves: {
          run: 'dead_lettered',
          customer: 'active',
          deadLetter: { code, fault: 'ours' },
          provider: null,
          requests,
          waitedS: 0,
        },
      }),
    );
  return [
    // First and second page, and both again.
    ...restarted(400, 'second page', { ...ONCE_EACH, transactions: 4 }),
    // With the window, and without it.
    ...restarted(702, 'second run', { ...ONCE_EACH, transactions: 2 }),
    ...restarted(703, 'second run', { ...ONCE_EACH, transactions: 2 }),
  ];
}
