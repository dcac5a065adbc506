/** What goes wrong while the soak lasts: answers of Calico's at a steady rate, and its servers every few minutes. */

import type { Endpoint, FaultAnswer, FaultBook } from '../../src/sandbox/faults.ts';
import type { Draw } from '../../src/sandbox/generate-random.ts';

const DATA: readonly Endpoint[] = ['assets', 'transactions'];
const API: readonly Endpoint[] = [...DATA, 'refreshAssets', 'refreshTransactions'];
const ALL: readonly Endpoint[] = [...API, 'token'];

/** Of 10,000 requests to these endpoints so many are answered so. */
type Trouble = { of10k: number; endpoints: readonly Endpoint[]; answer: FaultAnswer };

const on = (endpoints: readonly Endpoint[], of10k: number, ...answers: FaultAnswer[]): Trouble[] =>
  answers.map((answer) => ({ of10k, endpoints, answer }));

/** Each way of failing that src/calico/response-codes.ts tells apart. Rare is what stops a customer, or everybody. */
export const TROUBLES: readonly Trouble[] = [
  ...on(ALL, 50, { status: 500 }, { status: 502, rawBody: '<html>Bad gateway</html>' }, { reset: true }),
  ...on(API, 20, { bodyCode: 500 }, { rawBody: '{"data":' }, { rawBody: '{}' }, { status: 401 }),
  ...on(DATA, 40, { partial: [{ provider_id: 'coinbase', cause: '500' }] }),
  ...on(DATA, 40, { truncate: 200 }, { truncate: 0 }, { delayMs: 300 }),
  ...on(DATA, 10, { bodyCode: 400 }, { status: 702 }, { status: 703 }, { hasMoreWithoutCursor: true }),
  ...on(DATA, 10, { sameCursor: true }, { endlessWalk: true }, { emptyPageWithCursor: true }),
  ...on(API, 2, { status: 404 }, { status: 701 }, { bodyCode: 799 }, { status: 501 }),
  ...on(ALL, 2, { stallBodyAfterBytes: 50 }),
  ...on(API, 1, { status: 403 }, { status: 601 }, { status: 602 }, { bodyCode: 603 }),
  ...on(API, 1, { status: 429, headers: { 'retry-after': '1' } }, { status: 429 }),
  ...on(API, 1, { status: 503, headers: { 'retry-after': '2' } }),
];

/** Adds them all; says how many answers were spoiled so far. */
export function addTroubles(faults: FaultBook, draw: Draw): () => number {
  const handles = TROUBLES.map(({ of10k, endpoints, answer }) => {
    const when = ({ endpoint }: { endpoint: Endpoint }) =>
      endpoints.includes(endpoint) && draw(10_000) < of10k;
    return faults.add({ times: Number.POSITIVE_INFINITY, when, answer });
  });
  return () => handles.reduce((sum, { hits }) => sum + hits, 0);
}
