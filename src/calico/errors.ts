import type { Endpoint } from './contract.ts';

/** What kept a request from a usable answer. */
export type FailureKind =
  /** Calico answered with a code that is no success. */
  | 'refused'
  /** An answer came, but it cannot be read: not JSON, cut short, too large, a part is missing, a cursor that makes no sense. */
  | 'unreadable'
  /** Each page can be read, but together they have no end: a circle, or more pages than there can be. */
  | 'endless'
  /** No answer: refused or reset connection, DNS, TLS, timeout. */
  | 'network'
  /** We gave up ourselves: the process is stopping or the lease is lost. */
  | 'aborted';

/** Everything known of a failed request; free of secrets, so it may be logged and kept as evidence. */
export type Failure = {
  kind: FailureKind;
  endpoint: Endpoint;
  /** Method, path and query; tokens never are in a URL. */
  request: string;
  /** What happened, in a clause fit for a person. */
  detail: string;
  httpStatus: number | null;
  /** The code that counts: the body's where it is one of the table, else the HTTP status. */
  code: number | null;
  /** From Retry-After, seconds or date: never come back sooner. */
  retryAfterMs: number | null;
  requestId: string | null;
  /** The first 4 KiB of the body. */
  body: string | null;
  hadCursor: boolean;
  hadWindow: boolean;
};

/** The one error of this folder. What to do about it: response-codes.ts. */
export class CalicoError extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(`${failure.request}: ${failure.detail}`);
    this.name = 'CalicoError';
    this.failure = failure;
  }
}

/** The failure of a walk as a whole, where each of its answers was readable. */
export function walkError(endpoint: Endpoint, detail: string): CalicoError {
  return new CalicoError({
    kind: 'endless',
    endpoint,
    request: `the pages of ${endpoint}`,
    detail,
    httpStatus: null,
    code: null,
    retryAfterMs: null,
    requestId: null,
    body: null,
    hadCursor: true,
    hadWindow: false,
  });
}
