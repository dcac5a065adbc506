/** A short, stable name for what went wrong, to group dead letters by. The sentence for a person is in response-codes.ts. */
import type { Failure } from './errors.ts';
import { type Situation, situationOf } from './response-codes.ts';

/** The documented meanings in a few words each. Operators put them into commands, so they do not change. */
const WORDS: Record<Situation, string> = {
  400: '400 input refused',
  401: '401 missing or invalid credentials',
  403: '403 insufficient rights',
  404: '404 no such resource',
  429: '429 rate limit exceeded',
  500: '500 internal error',
  501: '501 subsystem unavailable',
  503: '503 maintenance',
  601: '601 customer not found',
  602: '602 customer not authorized',
  603: '603 authentication failed',
  701: '701 account not found',
  702: '702 invalid date',
  703: '703 invalid range',
  other_5xx: 'server error',
  other_code: 'undocumented code',
  network: 'network',
  unreadable: 'unreadable answer',
  endless: 'endless pages',
};

/** The cause of a failed request: "603 authentication failed", "502 server error", "network". */
export function causeOf(failure: Pick<Failure, 'kind' | 'code' | 'endpoint'>): string {
  const situation = situationOf(failure);
  const words = WORDS[situation];
  const hasCode = situation === 'other_5xx' || situation === 'other_code';
  const cause = hasCode && failure.code !== null ? `${failure.code} ${words}` : words;
  // Whose credentials: at the token endpoint a 401 or 403 is about this installation's own.
  return failure.endpoint === 'token' && (situation === 401 || situation === 403)
    ? `${cause} (client credentials)`
    : cause;
}
