/** Faults on demand: which request meets which fault. What a fault does to an answer is in `server-answer.ts`. */

export type Endpoint =
  | 'assets'
  | 'transactions'
  | 'refreshAssets'
  | 'refreshTransactions'
  | 'providers'
  | 'token';

/** One provider's failure, as it stands in `errors` of an answer. */
export interface ProviderError {
  readonly provider_id?: string | null;
  readonly cause: string;
  readonly message?: string | null;
}

type Headers = Readonly<Record<string, string>>;

/** In place of an answer; the request is not acted upon. */
export type Replacement =
  /**
   * Another status with this JSON body, or with a CalicoErrorResponse of that code. A 2xx without a body is
   * no replacement: the request is acted upon and its true content goes out under that status.
   */
  | { readonly status: number; readonly body?: unknown; readonly headers?: Headers }
  /** A code in the body, by default under a status of 200. */
  | { readonly bodyCode: number; readonly status?: number; readonly headers?: Headers }
  /** Any text, by default under a status of 200 as application/json. */
  | { readonly rawBody: string; readonly status?: number; readonly headers?: Headers }
  /** The connection is reset. */
  | { readonly reset: true };

/** Changes how the true answer says where the walk goes on. Of no effect on an endpoint without pages. */
export type PageFault =
  /** 206: the data as it is, and these errors; on every endpoint with `data`. */
  | { readonly partial: readonly ProviderError[] }
  /** `next_cursor` is the request's own; of a first request, one that leads to the first page again. */
  | { readonly sameCursor: true }
  /** No records, and a cursor never seen before that leads to the page left out. */
  | { readonly emptyPageWithCursor: true }
  /** `has_more` is true and `next_cursor` null. */
  | { readonly hasMoreWithoutCursor: true }
  /** The last page is followed by the first, under a cursor never seen before. */
  | { readonly endlessWalk: true };

/** The true answer, and the request is acted upon, but not all of it arrives or not in time. */
export type TransportFault =
  /** The whole length is promised, so many bytes are sent, the connection is closed. */
  | { readonly truncate: number }
  /** The same, but the connection stays open in silence. */
  | { readonly stallBodyAfterBytes: number }
  /** The answer comes late; `Infinity`: never. */
  | { readonly delayMs: number };

export type FaultAnswer = Replacement | PageFault | TransportFault;

/** The part of a request that a rule looks at. */
export interface FaultSubject {
  readonly endpoint: Endpoint;
  readonly customerId: string | null;
  readonly query: Readonly<Record<string, string>>;
}

export interface FaultRule {
  /** Which requests the rule is about; what is left out matches all. */
  readonly endpoint?: Endpoint;
  readonly customerId?: string;
  readonly when?: (subject: FaultSubject) => boolean;
  /** From which matching request on, counted for each customer from 1 since the rule was added. Default 1. */
  readonly page?: number;
  /** How many answers the rule spoils, of all customers together; `Infinity` for ever. Default 1. */
  readonly times?: number;
  readonly answer: FaultAnswer;
}

export interface FaultHandle {
  /** How many answers the rule has spoiled. */
  readonly hits: number;
  remove(): void;
}

export interface FaultBook {
  /** Adds a rule. Of several that are due, the one added first wins; the others have counted the request too. */
  add(rule: FaultRule): FaultHandle;
  /** Removes every rule. */
  clear(): void;
}

/** The server's side of the book. */
export interface FaultSource {
  /** Counts a request and returns the fault that it meets, if any. */
  next(subject: FaultSubject): FaultAnswer | null;
}

/** Makes an empty book of faults. */
export function createFaultBook(): FaultBook & FaultSource {
  const entries = new Set<{
    readonly rule: FaultRule;
    readonly seen: Map<string | null, number>;
    hits: number;
  }>();
  return {
    add: (rule) => {
      const entry = { rule, seen: new Map<string | null, number>(), hits: 0 };
      entries.add(entry);
      return {
        get hits() {
          return entry.hits;
        },
        remove: () => void entries.delete(entry),
      };
    },
    clear: () => entries.clear(),
    next: (subject) => {
      let answer: FaultAnswer | null = null;
      for (const entry of entries) {
        const { rule, seen } = entry;
        if (!isAbout(rule, subject)) continue;
        const nth = (seen.get(subject.customerId) ?? 0) + 1;
        seen.set(subject.customerId, nth);
        if (answer !== null || nth < (rule.page ?? 1) || entry.hits >= (rule.times ?? 1)) continue;
        entry.hits += 1;
        answer = rule.answer;
      }
      return answer;
    },
  };
}

function isAbout(rule: FaultRule, subject: FaultSubject): boolean {
  if (rule.endpoint !== undefined && rule.endpoint !== subject.endpoint) return false;
  if (rule.customerId !== undefined && rule.customerId !== subject.customerId) return false;
  return rule.when === undefined || rule.when(subject);
}
