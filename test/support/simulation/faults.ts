/** What can go wrong at a gate, by name: Calico's answers and Postgres' refusals. The seed draws from these lists. */
import type { Endpoint } from '../../../src/calico/contract.ts';
import type { Connection } from '../../../src/db/statements.ts';
import type { FaultAnswer } from '../../../src/sandbox/faults.ts';

export type ApiFault = {
  answer: FaultAnswer;
  /** How the cause of a dead letter that it explains begins. */
  explains: string;
};

/** Names begin none of the others’ in this order. */
export const API_ENDPOINTS: readonly Endpoint[] = [
  'refreshAssets',
  'refreshTransactions',
  'assets',
  'transactions',
  'token',
];

const CODES = [400, 401, 403, 404, 429, 500, 501, 503, 601, 602, 603, 701, 702, 703, 418, 502] as const;
/** What stops a customer or waits for all is rarer than what is tried again: else little is synced between. */
const MILD = [500, 500, 500, 501, 502] as const;
const PAGES_ONLY = ['same cursor', 'empty page', 'no cursor', 'endless'] as const;

const API_FAULTS: Record<string, ApiFault> = {
  ...Object.fromEntries(
    CODES.flatMap((code) => [
      [`status ${code}`, { answer: { status: code }, explains: String(code) }],
      [`code ${code} in a 200`, { answer: { bodyCode: code }, explains: String(code) }],
    ]),
  ),
  'code 418 in a 502': { answer: { bodyCode: 418, status: 502 }, explains: '502' },
  '429 with Retry-After': {
    answer: { status: 429, headers: { 'retry-after': '7' } },
    explains: '429',
  },
  reset: { answer: { reset: true }, explains: 'network' },
  silence: { answer: { delayMs: Number.POSITIVE_INFINITY }, explains: 'network' },
  slowness: { answer: { delayMs: 4_000 }, explains: 'nothing' },
  truncation: { answer: { truncate: 20 }, explains: 'unreadable' },
  'truncation at once': { answer: { truncate: 0 }, explains: 'unreadable' },
  'not JSON': { answer: { rawBody: '<html>' }, explains: 'unreadable' },
  'no data': { answer: { rawBody: '{}' }, explains: 'unreadable' },
  'same cursor': { answer: { sameCursor: true }, explains: 'unreadable' },
  'empty page': { answer: { emptyPageWithCursor: true }, explains: 'unreadable' },
  'no cursor': { answer: { hasMoreWithoutCursor: true }, explains: 'unreadable' },
  endless: { answer: { endlessWalk: true }, explains: 'endless' },
};

/** Names of what an endpoint may be hit by; some twice, so that they are drawn more often. */
export function apiFaultsAt(endpoint: Endpoint): string[] {
  const isPaged = endpoint === 'assets' || endpoint === 'transactions';
  const all = Object.keys(API_FAULTS).filter(
    (name) => isPaged || !(PAGES_ONLY as readonly string[]).includes(name),
  );
  return [...all, ...MILD.map((code) => `status ${code}`), 'reset', 'reset', 'truncation', 'slowness'];
}

/** The fault of that name. */
export function apiFault(name: string): ApiFault {
  const fault = API_FAULTS[name];
  if (!fault) throw new Error(`there is no fault ${name}`);
  return fault;
}

/** SQLSTATEs that a statement may report, and `terminate`: its connection ends. */
export const POSTGRES_FAULTS = ['40001', '40P01', '53100', '57014', 'terminate', 'terminate'] as const;

/** Makes Postgres itself refuse, in the transaction that the statement would have been of. Always throws what `pg` does. */
export async function refuse(connection: Connection, sqlState: string): Promise<never> {
  await connection.query(
    `DO $$ BEGIN RAISE EXCEPTION 'the simulation refuses this' USING ERRCODE = '${sqlState}'; END $$`,
  );
  throw new Error(`Postgres took what was to fail with ${sqlState}`);
}
