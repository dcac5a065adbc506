/** The sandbox's memory of what it was asked. Never of a token: a short hash tells two of them apart. */
import { createHash } from 'node:crypto';
import type { Endpoint } from './faults.ts';

/** A request to one of the contract's endpoints. */
export interface SandboxRequest {
  /** The answer's `x-request-id`. */
  readonly requestId: string;
  readonly endpoint: Endpoint;
  readonly method: string;
  /** Whose token came with the request; null when it was unknown, expired or missing. */
  readonly customerId: string | null;
  readonly query: Readonly<Record<string, string>>;
  readonly atMs: number;
  /** The first 12 hexadecimal digits of the access (or refresh) token's SHA-256; null without a token. */
  readonly tokenFingerprint: string | null;
  /** null until an answer is sent, and for ever where a fault kept it back. */
  readonly status: number | null;
}

/** A request as it is written down; its status follows. */
export type RequestEntry = { -readonly [Field in keyof SandboxRequest]: SandboxRequest[Field] };

/** Picks requests: those equal in every field that is given. */
export type RequestFilter = Partial<Pick<SandboxRequest, 'endpoint' | 'customerId' | 'method' | 'status'>>;

export interface RequestLog {
  /** Oldest first. */
  readonly requests: readonly SandboxRequest[];
  keep(entry: RequestEntry): void;
  requestsFor(filter: RequestFilter): readonly SandboxRequest[];
  clear(): void;
}

/** What is kept at most; beyond it the older half is forgotten. */
const maxRequests = 100_000;

/** Makes a log; one that is not enabled stays empty. */
export function createRequestLog(isEnabled: boolean): RequestLog {
  const requests: SandboxRequest[] = [];
  return {
    requests,
    keep: (entry) => {
      if (!isEnabled) return;
      if (requests.length >= maxRequests) requests.splice(0, maxRequests / 2);
      requests.push(entry);
    },
    requestsFor: (filter) => requests.filter((request) => isPicked(filter, request)),
    clear: () => void requests.splice(0),
  };
}

/** Tells two tokens apart without giving either away. */
export function fingerprintOf(token: string): string {
  return createHash('sha256').update(token).digest('hex').slice(0, 12);
}

function isPicked(filter: RequestFilter, request: SandboxRequest): boolean {
  return (
    (filter.endpoint === undefined || filter.endpoint === request.endpoint) &&
    (filter.customerId === undefined || filter.customerId === request.customerId) &&
    (filter.method === undefined || filter.method === request.method) &&
    (filter.status === undefined || filter.status === request.status)
  );
}
