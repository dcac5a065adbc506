/**
 * The verdicts, against a copy of the table of response-codes.md that was written down by hand: every code at every
 * endpoint, with everything that may have been tried.
 */
import { expect, test } from 'vitest';
import { ENDPOINTS, type Endpoint } from '../../src/calico/contract.ts';
import type { Failure } from '../../src/calico/errors.ts';
import {
  type Decision,
  DOCUMENTED_CODES,
  decide,
  isKnownCode,
  isSuccess,
  RESPONSE_RULES,
  type Situation,
  situationOf,
  type Tried,
} from '../../src/calico/response-codes.ts';

type Row = {
  verdict: 'wait' | 'retry' | 'dead_letter';
  fault: string;
  remedy?: 'refresh_token' | 'restart_pages' | 'restart_without_window';
  stop?: string;
  /** Of `retry`. */
  attempts?: number;
  long?: true;
};

const REAUTHENTICATE: Row = {
  verdict: 'dead_letter',
  fault: 'customer',
  remedy: 'refresh_token',
  stop: 'reauth_required',
};
const BAD_WINDOW: Row = { verdict: 'dead_letter', fault: 'ours', remedy: 'restart_without_window' };
const CALICO_RETRY: Row = { verdict: 'retry', fault: 'calico', attempts: 8 };
const UNDOCUMENTED: Row = { verdict: 'retry', fault: 'unknown', attempts: 3 };

/** By code, or by what happened in place of one. */
const TABLE: Record<string, Row> = {
  400: { verdict: 'dead_letter', fault: 'ours', remedy: 'restart_pages' },
  401: REAUTHENTICATE,
  403: { verdict: 'dead_letter', fault: 'customer', stop: 'forbidden' },
  404: { verdict: 'dead_letter', fault: 'ours' },
  429: { verdict: 'wait', fault: 'ours' },
  500: CALICO_RETRY,
  501: { ...CALICO_RETRY, long: true },
  502: CALICO_RETRY,
  503: { verdict: 'wait', fault: 'calico' },
  504: CALICO_RETRY,
  599: CALICO_RETRY,
  601: { verdict: 'dead_letter', fault: 'customer', stop: 'not_found' },
  602: { verdict: 'dead_letter', fault: 'customer', stop: 'not_authorized' },
  603: REAUTHENTICATE,
  701: { verdict: 'dead_letter', fault: 'customer' },
  702: BAD_WINDOW,
  703: BAD_WINDOW,
  204: UNDOCUMENTED,
  302: UNDOCUMENTED,
  402: UNDOCUMENTED,
  418: UNDOCUMENTED,
  600: UNDOCUMENTED,
  604: UNDOCUMENTED,
  700: UNDOCUMENTED,
  999: UNDOCUMENTED,
  network: { verdict: 'retry', fault: 'network', attempts: 8 },
  unreadable: { verdict: 'retry', fault: 'calico', attempts: 3 },
  endless: { verdict: 'dead_letter', fault: 'calico', remedy: 'restart_pages' },
};

/** The token endpoint's 401 and 403 are about this installation, not about the customer. */
const AT_TOKEN: Record<string, Row> = {
  401: { verdict: 'retry', fault: 'ours', attempts: 8, long: true },
  403: { verdict: 'retry', fault: 'ours', attempts: 8, long: true },
};

const endpoints: Endpoint[] = ['refreshAssets', 'refreshTransactions', 'assets', 'transactions', 'token'];
const either = [false, true];

function failureOf(what: string, endpoint: Endpoint, hadCursor: boolean, hadWindow: boolean): Failure {
  const code = Number(what);
  return {
    kind: what === 'network' || what === 'unreadable' || what === 'endless' ? what : 'refused',
    endpoint,
    request: 'GET /assets',
    detail: '',
    httpStatus: null,
    code: Number.isNaN(code) ? null : code,
    retryAfterMs: null,
    requestId: null,
    body: null,
    hadCursor,
    hadWindow,
  };
}

function expected(
  row: Row,
  failure: Failure,
  { tokenRefreshed, restarted, attempts }: Tried,
): Decision['do'] {
  const open = {
    refresh_token: failure.endpoint !== 'token' && !tokenRefreshed,
    restart_pages: failure.hadCursor && !restarted,
    restart_without_window: failure.hadWindow && !restarted,
  };
  if (row.remedy && open[row.remedy]) return row.remedy;
  return row.verdict === 'retry' && attempts + 1 >= (row.attempts ?? 0) ? 'dead_letter' : row.verdict;
}

test('every code, at every endpoint, whatever was tried', () => {
  const wrong: object[] = [];
  let cases = 0;
  for (const what of Object.keys(TABLE)) {
    for (const endpoint of endpoints) {
      const row = (endpoint === 'token' ? AT_TOKEN[what] : undefined) ?? TABLE[what];
      if (!row) throw new Error('no row');
      for (const hadCursor of either) {
        for (const hadWindow of either) {
          const failure = failureOf(what, endpoint, hadCursor, hadWindow);
          for (const tokenRefreshed of either) {
            for (const restarted of either) {
              for (let attempts = 0; attempts < 10; attempts++) {
                cases++;
                const tried = { tokenRefreshed, restarted, attempts };
                const decision = decide(failure, tried);
                const want = expected(row, failure, tried);
                const isRight =
                  decision.do === want &&
                  (!('rule' in decision) ||
                    (decision.rule.fault === row.fault &&
                      decision.rule.stop === row.stop &&
                      (row.verdict !== 'retry' || decision.rule.backoff === (row.long ? 'long' : 'short'))));
                if (!isRight)
                  wrong.push({ what, endpoint, hadCursor, hadWindow, ...tried, want, got: decision.do });
              }
            }
          }
        }
      }
    }
  }
  expect(wrong.slice(0, 5)).toEqual([]);
  expect(cases).toBe(Object.keys(TABLE).length * endpoints.length * 4 * 4 * 10);
});

test('the table has a row for every situation and a rule for every endpoint', () => {
  const situations = [
    ...DOCUMENTED_CODES.filter((code) => !isSuccess(code)).map(String),
    'network',
    'other_5xx',
    'other_code',
    'unreadable',
    'endless',
  ];
  expect(Object.keys(RESPONSE_RULES).sort()).toEqual(situations.sort());
  for (const rules of Object.values(RESPONSE_RULES))
    expect(Object.keys(rules).sort()).toEqual([...endpoints].sort());
  expect([...Object.keys(ENDPOINTS), 'token'].sort()).toEqual([...endpoints].sort());
});

test('every rule tells a person what happened and what to do', () => {
  for (const [situation, rules] of Object.entries(RESPONSE_RULES)) {
    for (const [endpoint, { sentence, nextStep }] of Object.entries(rules)) {
      const where = `${situation} at ${endpoint}`;
      expect(sentence.trim().length, where).toBeGreaterThan(10);
      expect(nextStep.trim().length, where).toBeGreaterThan(6);
      expect(sentence, where).not.toMatch(/[.\s]$/);
    }
  }
});

test('only customers’ faults stop a schedule, and only on a dead letter', () => {
  for (const rules of Object.values(RESPONSE_RULES)) {
    for (const rule of Object.values(rules)) {
      if (rule.stop) expect(rule).toMatchObject({ fault: 'customer', verdict: 'dead_letter' });
    }
  }
});

test('every retry ends', () => {
  for (const rules of Object.values(RESPONSE_RULES)) {
    for (const rule of Object.values(rules)) {
      if (rule.verdict === 'retry') expect(rule.maxAttempts).toBeLessThanOrEqual(8);
    }
  }
});

test.each<[Pick<Failure, 'kind' | 'code'>, Situation]>([
  [{ kind: 'network', code: null }, 'network'],
  [{ kind: 'network', code: 200 }, 'network'],
  [{ kind: 'unreadable', code: 206 }, 'unreadable'],
  [{ kind: 'endless', code: null }, 'endless'],
  [{ kind: 'refused', code: 603 }, 603],
  [{ kind: 'refused', code: 599 }, 'other_5xx'],
  [{ kind: 'refused', code: 600 }, 'other_code'],
  [{ kind: 'refused', code: 499 }, 'other_code'],
  [{ kind: 'refused', code: null }, 'other_code'],
])('%j is the situation %s', (failure, situation) => expect(situationOf(failure)).toBe(situation));

test('the known codes are those of the documentation, no more', () => {
  const known = Array.from({ length: 1_000 }, (_none, code) => code).filter(isKnownCode);
  expect(known).toEqual([
    200, 201, 202, 206, 400, 401, 403, 404, 429, 500, 501, 503, 601, 602, 603, 701, 702, 703,
  ]);
  expect(known.filter(isSuccess)).toEqual([200, 201, 202, 206]);
});
