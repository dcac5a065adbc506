/** The way of a request to the contract: hook, rate, token, fault, answer. */
import type { ServerResponse } from 'node:http';
import type { Endpoint, FaultAnswer, FaultSource } from './faults.ts';
import { answerCustomer, answerToken, type HandlerContext } from './handlers.ts';
import { type Answer, errorAnswer } from './handlers-answer.ts';
import { cutOf, delayOf, pageFaultOf, replacementFor, restated, send } from './server-answer.ts';
import { fingerprintOf, type RequestEntry, type RequestLog, type SandboxRequest } from './server-log.ts';

export const apiPath = '/platform/v2';
export const authPath = '/oauth/token';

const endpoints: ReadonlyMap<string, Endpoint> = new Map([
  [`GET ${apiPath}/assets`, 'assets'],
  [`GET ${apiPath}/transactions`, 'transactions'],
  [`GET ${apiPath}/providers`, 'providers'],
  [`POST ${apiPath}/assets/refresh`, 'refreshAssets'],
  [`POST ${apiPath}/transactions/refresh`, 'refreshTransactions'],
  [`POST ${authPath}`, 'token'],
]);

/** The endpoint that a method and a path name; null when none. */
export function endpointOf(method: string, path: string): Endpoint | null {
  return endpoints.get(`${method} ${path}`) ?? null;
}

export interface ContractCall {
  readonly requestId: string;
  readonly endpoint: Endpoint;
  readonly method: string;
  readonly query: URLSearchParams;
  /** The Authorization header. */
  readonly authorization: string;
  readonly form: URLSearchParams;
}

export interface ContractOptions {
  readonly context: HandlerContext;
  readonly faults: FaultSource;
  readonly log: RequestLog;
  readonly sleep: (ms: number) => Promise<void>;
  readonly latencyMs: number;
  readonly rateLimitPerSecond: number;
  readonly onRequest: (request: SandboxRequest) => void | Promise<void>;
}

/** Makes the function that sees a call through; it resolves when the answer is sent, or kept back for ever. */
export function createContract(
  options: ContractOptions,
): (call: ContractCall, response: ServerResponse) => Promise<void> {
  const { context, faults, log, sleep, latencyMs, onRequest } = options;
  const isWithinRate = rateLimiter(options.rateLimitPerSecond, context.now);

  function ownerOf({ endpoint }: ContractCall, token: string): string | null {
    return endpoint === 'token'
      ? context.tokens.customerOfRefresh(token)
      : context.tokens.customerOfAccess(token);
  }

  /** What the endpoint answers when no fault is in the way of it. */
  function trueAnswer(call: ContractCall, customerId: string | null, fault: FaultAnswer | null): Answer {
    const { endpoint, form, query } = call;
    if (endpoint === 'token') return answerToken(context, form);
    if (customerId === null || !context.data.hasCustomer(customerId)) {
      return errorAnswer(601, 'Customer not found', 404);
    }
    return answerCustomer(context, endpoint, customerId, query, pageFaultOf(fault));
  }

  return async (call, response) => {
    const { endpoint } = call;
    const token = tokenOf(call);
    const entry = entryFor(call, token, ownerOf(call, token), context.now());
    log.keep(entry);
    const reply = (answer: Answer, cut: ReturnType<typeof cutOf> = null): void => {
      entry.status = answer.status;
      send(response, answer, cut);
    };
    await onRequest(entry);
    if (latencyMs > 0) await sleep(latencyMs);

    if (endpoint !== 'token' && !isWithinRate()) {
      return reply({ ...errorAnswer(429, 'Too many requests'), headers: { 'retry-after': '1' } });
    }
    // Asked again, for the hook may have ended the token.
    const customerId = ownerOf(call, token);
    if (endpoint !== 'token' && customerId === null) {
      return reply(errorAnswer(401, 'Missing or invalid credentials'));
    }
    const fault = faults.next({ endpoint, customerId, query: entry.query });
    const replacement = replacementFor(fault);
    if (replacement === 'reset') return void response.socket?.resetAndDestroy();
    if (replacement !== null) return reply(replacement);

    const answer = trueAnswer(call, customerId, fault);
    const delayMs = delayOf(fault);
    if (delayMs === Infinity) return;
    if (delayMs > 0) await sleep(delayMs);
    reply(restated(answer, fault), cutOf(fault));
  };
}

/** The access token, or at the token endpoint the refresh token; empty when there is none. */
function tokenOf({ endpoint, authorization, form }: ContractCall): string {
  if (endpoint === 'token') return form.get('refresh_token') ?? '';
  return /^Bearer +(?<token>\S+)$/i.exec(authorization)?.groups?.['token'] ?? '';
}

function entryFor(call: ContractCall, token: string, customerId: string | null, atMs: number): RequestEntry {
  const { requestId, endpoint, method } = call;
  const tokenFingerprint = token === '' ? null : fingerprintOf(token);
  const query = Object.fromEntries(call.query);
  return { requestId, endpoint, method, customerId, query, atMs, tokenFingerprint, status: null };
}

/** In no second, wherever it begins, are more let through: the strictest of the usual ways to count. */
function rateLimiter(perSecond: number, now: () => number): () => boolean {
  const letThrough: number[] = [];
  return () => {
    if (perSecond === Infinity) return true;
    const current = now();
    while ((letThrough[0] ?? Infinity) <= current - 1_000) letThrough.shift();
    if (letThrough.length >= perSecond) return false;
    letThrough.push(current);
    return true;
  };
}
