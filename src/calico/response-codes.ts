/**
 * What to do about every answer: a pure function over a complete table (docs.getcalico.com, "Response codes").
 * The client says what happened, this file says what to do, and nobody else decides.
 */
import type { Endpoint } from './contract.ts';
import type { Failure } from './errors.ts';

export const DOCUMENTED_CODES = [
  200, 201, 202, 206, 400, 401, 403, 404, 429, 500, 501, 503, 601, 602, 603, 701, 702, 703,
] as const;
export type DocumentedCode = (typeof DOCUMENTED_CODES)[number];

const SUCCESSES = [200, 201, 202, 206] as const;
type Success = (typeof SUCCESSES)[number];

/** Everything that can go wrong: a code of the documentation, or what it does not name. */
export type Situation =
  | Exclude<DocumentedCode, Success>
  | 'other_5xx'
  | 'other_code'
  | 'network'
  | 'unreadable'
  | 'endless';

export type Fault = 'ours' | 'calico' | 'customer' | 'provider' | 'network' | 'unknown';

/** Customer statuses that stop the schedule. */
export type Stop = 'reauth_required' | 'forbidden' | 'not_found' | 'not_authorized';

/** Tried first, once, before the verdict counts. */
export type Remedy = 'refresh_token' | 'restart_pages' | 'restart_without_window';

export type Rule = {
  remedy?: Remedy;
  verdict: 'wait' | 'retry' | 'dead_letter';
  /** Of `retry`: how many failed tries in a row before the dead letter. */
  maxAttempts?: number;
  /** Of `retry`: seconds after a restart, or minutes where Calico says "later". */
  backoff?: 'short' | 'long';
  fault: Fault;
  /** Becomes the customer's status on a dead letter. */
  stop?: Stop;
  /** What happened, for a person. */
  sentence: string;
  /** What a person can do. `<id>` is the customer's. */
  nextStep: string;
};

const MAX_ATTEMPTS = 8;
/** For what nobody documented: the raw answer is kept, and more of the same teaches nothing. */
const MAX_ATTEMPTS_UNKNOWN = 3;

const everywhere = (rule: Rule): Record<Endpoint, Rule> => ({
  refreshAssets: rule,
  refreshTransactions: rule,
  assets: rule,
  transactions: rule,
  token: rule,
});

const REAUTHENTICATE: Rule = {
  remedy: 'refresh_token',
  verdict: 'dead_letter',
  fault: 'customer',
  stop: 'reauth_required',
  sentence: 'Calico no longer accepts the customer’s credentials; the customer has to sign in again',
  nextStep: 'calico-sync customers add <id> with the new tokens; it resumes at its checkpoint',
};

const WINDOW_REFUSED: Rule = {
  remedy: 'restart_without_window',
  verdict: 'dead_letter',
  fault: 'ours',
  sentence: 'Calico refused the time window, and a pass without one too',
  nextStep: 'check start_time in src/calico/contract.ts, then calico-sync sync <id> --full',
};

const OUR_CLIENT_REFUSED: Rule = {
  verdict: 'retry',
  maxAttempts: MAX_ATTEMPTS,
  backoff: 'long',
  fault: 'ours',
  sentence: 'the token endpoint refused this installation’s client credentials',
  nextStep: 'check CALICO_CLIENT_ID and CALICO_CLIENT_SECRET',
};

const CALICO_TROUBLE: Rule = {
  verdict: 'retry',
  maxAttempts: MAX_ATTEMPTS,
  backoff: 'short',
  fault: 'calico',
  sentence: 'Calico has an internal error',
  nextStep: 'nothing; it is tried again. If it lasts, ask Calico with the request id in the evidence',
};

/** One row a situation, one rule an endpoint: a missing case does not compile. */
export const RESPONSE_RULES: Record<Situation, Record<Endpoint, Rule>> = {
  400: everywhere({
    remedy: 'restart_pages',
    verdict: 'dead_letter',
    fault: 'ours',
    sentence: 'Calico says that our request does not satisfy its specification',
    nextStep: 'compare the request in the evidence with src/calico/contract.ts, then calico-sync sync <id>',
  }),
  401: { ...everywhere(REAUTHENTICATE), token: OUR_CLIENT_REFUSED },
  403: {
    ...everywhere({
      verdict: 'dead_letter',
      fault: 'customer',
      stop: 'forbidden',
      sentence: 'the customer’s token has not the rights for this',
      nextStep: 'ask the customer to connect again with all rights, then calico-sync customers add <id>',
    }),
    token: OUR_CLIENT_REFUSED,
  },
  404: everywhere({
    verdict: 'dead_letter',
    fault: 'ours',
    sentence: 'Calico knows no such resource',
    nextStep: 'check CALICO_API_URL and the paths in src/calico/contract.ts',
  }),
  429: everywhere({
    verdict: 'wait',
    fault: 'ours',
    sentence: 'Calico’s rate limit is exceeded',
    nextStep: 'nothing; if it happens often, lower CALICO_RATE_LIMIT',
  }),
  500: everywhere(CALICO_TROUBLE),
  501: everywhere({
    ...CALICO_TROUBLE,
    backoff: 'long',
    sentence: 'a subsystem that Calico needs is unavailable',
  }),
  503: everywhere({
    verdict: 'wait',
    fault: 'calico',
    sentence: 'Calico is down for scheduled maintenance',
    nextStep: 'nothing; it goes on when Calico is back',
  }),
  601: everywhere({
    verdict: 'dead_letter',
    fault: 'customer',
    stop: 'not_found',
    sentence: 'Calico does not know this customer',
    nextStep: 'check that the customer still exists at Calico, then calico-sync customers add <id>',
  }),
  602: everywhere({
    verdict: 'dead_letter',
    fault: 'customer',
    stop: 'not_authorized',
    sentence: 'the customer has not authorized this access',
    nextStep: 'ask the customer to authorize it, then calico-sync customers add <id>',
  }),
  603: everywhere(REAUTHENTICATE),
  701: everywhere({
    verdict: 'dead_letter',
    fault: 'customer',
    sentence: 'Calico does not find an account of this customer',
    nextStep: 'ask the customer whether an account was disconnected, then calico-sync sync <id>',
  }),
  702: everywhere(WINDOW_REFUSED),
  703: everywhere(WINDOW_REFUSED),
  other_5xx: everywhere({ ...CALICO_TROUBLE, sentence: 'Calico or a gateway before it has an error' }),
  other_code: everywhere({
    verdict: 'retry',
    maxAttempts: MAX_ATTEMPTS_UNKNOWN,
    backoff: 'short',
    fault: 'unknown',
    sentence: 'Calico answered with a code that its documentation does not have',
    nextStep: 'read the answer in the evidence; a new code belongs into src/calico/response-codes.ts',
  }),
  network: everywhere({
    verdict: 'retry',
    maxAttempts: MAX_ATTEMPTS,
    backoff: 'short',
    fault: 'network',
    sentence: 'Calico could not be reached',
    nextStep: 'check DNS, TLS and the way to CALICO_API_URL from this machine',
  }),
  unreadable: everywhere({
    verdict: 'retry',
    maxAttempts: MAX_ATTEMPTS_UNKNOWN,
    backoff: 'short',
    fault: 'calico',
    sentence: 'Calico’s answer cannot be read',
    nextStep: 'read the answer in the evidence; a new shape belongs into src/calico/contract.ts',
  }),
  // From the cursor at which a circle was noticed there is no way out: the next run has to begin at the first page too.
  endless: everywhere({
    remedy: 'restart_pages',
    verdict: 'dead_letter',
    fault: 'calico',
    sentence: 'Calico’s pages have no end, and read from the first one again neither',
    nextStep:
      'nothing; the next run starts the pages over. If it lasts, show Calico the cursors in the evidence',
  }),
};

/** Is it a code of the documentation? Only these win over the HTTP status when a body carries them. */
export function isKnownCode(code: number): code is DocumentedCode {
  return (DOCUMENTED_CODES as readonly number[]).includes(code);
}

export function isSuccess(code: number): code is Success {
  return (SUCCESSES as readonly number[]).includes(code);
}

/** Which row of the table a failure is. An aborted request is none: we gave up ourselves. */
export function situationOf({ kind, code }: Pick<Failure, 'kind' | 'code'>): Situation {
  if (kind === 'network' || kind === 'unreadable' || kind === 'endless') return kind;
  if (code !== null && isKnownCode(code) && !isSuccess(code)) return code;
  return code !== null && code >= 500 && code <= 599 ? 'other_5xx' : 'other_code';
}

/** What has been tried already. */
export type Tried = {
  /** A new access token was fetched since the last answer that was accepted. */
  tokenRefreshed: boolean;
  /** This stream's pages were restarted in this run. */
  restarted: boolean;
  /** Failed tries in a row before this one. */
  attempts: number;
};

export type Decision =
  | { do: Remedy }
  | { do: 'wait'; rule: Rule }
  | { do: 'retry'; rule: Rule }
  | { do: 'dead_letter'; rule: Rule };

/** The verdict on a failure, given what was tried. Remedies come first, each once; then the rule's own verdict. */
export function decide(failure: Failure, tried: Tried): Decision {
  const rule = RESPONSE_RULES[situationOf(failure)][failure.endpoint];
  if (rule.remedy && remedyApplies(rule.remedy, failure, tried)) return { do: rule.remedy };
  if (rule.verdict === 'retry' && tried.attempts + 1 >= (rule.maxAttempts ?? MAX_ATTEMPTS)) {
    return { do: 'dead_letter', rule };
  }
  return { do: rule.verdict, rule };
}

function remedyApplies(remedy: Remedy, failure: Failure, tried: Tried): boolean {
  switch (remedy) {
    case 'refresh_token':
      return failure.endpoint !== 'token' && !tried.tokenRefreshed;
    case 'restart_pages':
      return failure.hadCursor && !tried.restarted;
    case 'restart_without_window':
      return failure.hadWindow && !tried.restarted;
  }
}

/**
 * What an answer, or a success (null), says of Calico as a whole: `wait` (429, 503), `works`, or null: errors of its own,
 * no answer, one that cannot be read. That the token endpoint works says nothing of the API, which is another host.
 */
export function saysOfCalico(endpoint: Endpoint, failure: Failure | null): 'wait' | 'works' | null {
  const rule = failure && RESPONSE_RULES[situationOf(failure)][endpoint];
  if (rule?.verdict === 'wait') return 'wait';
  if (endpoint === 'token') return null;
  const isAskers = failure?.kind === 'refused' && (rule?.fault === 'ours' || rule?.fault === 'customer');
  return failure === null || isAskers ? 'works' : null;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const BACKOFF_MS = {
  short: { base: 2 * SECOND, cap: 10 * MINUTE },
  long: { base: MINUTE, cap: 60 * MINUTE },
};

/**
 * Exponential backoff with full jitter, in milliseconds; Retry-After is a floor, never shortened.
 * `attempt` counts from 0; `random` is in [0, 1).
 */
export function backoffMs(
  rule: Pick<Rule, 'backoff'>,
  attempt: number,
  retryAfterMs: number | null,
  random: () => number,
): number {
  const { base, cap } = BACKOFF_MS[rule.backoff ?? 'short'];
  const jittered = Math.round(random() * Math.min(cap, base * 2 ** attempt));
  return retryAfterMs === null ? jittered : retryAfterMs + Math.min(jittered, base);
}

/** At least a second, and without a Retry-After never more than ten minutes until the next look. */
const WAIT_MS = { least: SECOND, first: 5 * SECOND, most: 10 * MINUTE };

/**
 * How long to wait for what is over by itself (429, 503), in milliseconds: Retry-After is a floor; without it the wait
 * grows with the time waited so far, with full jitter.
 */
export function waitMs(waitedMs: number, retryAfterMs: number | null, random: () => number): number {
  if (retryAfterMs !== null) {
    const jitter = Math.min(WAIT_MS.first, Math.max(WAIT_MS.least, retryAfterMs));
    return Math.max(WAIT_MS.least, retryAfterMs + Math.round(random() * jitter));
  }
  const ceiling = Math.min(WAIT_MS.most, Math.max(WAIT_MS.first, waitedMs));
  return Math.max(WAIT_MS.least, Math.round(random() * ceiling));
}
