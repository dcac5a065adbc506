/**
 * A stand-in Calico: the whole contract of `src/calico/openapi.yaml` and the token endpoint, on the loopback
 * interface, over data of one's choice, with faults on demand. For development, tests and demonstrations.
 *
 * Two routes are the sandbox's own: `GET /sandbox/customers` lists the customers' ids, and
 * `POST /sandbox/tokens/<customer id>` answers with fresh tokens for one, as the customer's consent would.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleepFor } from 'node:timers/promises';
import type { SandboxData } from './data.ts';
import { loadRealData } from './data-real.ts';
import { createFaultBook, type FaultBook } from './faults.ts';
import { type Answer, errorAnswer } from './handlers-answer.ts';
import { createCursorCodec } from './handlers-cursor.ts';
import { send } from './server-answer.ts';
import { apiPath, authPath, createContract, endpointOf } from './server-contract.ts';
import { createRequestLog, type RequestFilter, type SandboxRequest } from './server-log.ts';
import { createTokenStore, type IssuedTokens, type TokenStore } from './tokens.ts';

export interface SandboxOptions {
  /** Default: the real wallets. */
  readonly data?: SandboxData;
  /** Default 0: any free port. */
  readonly port?: number;
  readonly clientId?: string;
  readonly clientSecret?: string;
  /** Default 15 minutes, as documented. */
  readonly accessTokenTtlMs?: number;
  /** Default 1 year, as documented. */
  readonly refreshTokenTtlMs?: number;
  /** Whether a refresh token is good once only; default true. If false, the token endpoint returns no new one. */
  readonly rotateRefreshTokens?: boolean;
  /**
   * How long a refresh token that was used stays good, for a client that did not get the answer; default 0. Auth0 calls it
   * the rotation overlap period (auth0.com/docs/secure/tokens/refresh-tokens/configure-refresh-token-rotation), Okta the
   * grace period (developer.okta.com/docs/guides/refresh-tokens/main), Amazon Cognito RetryGracePeriodSeconds.
   */
  readonly refreshTokenGraceMs?: number;
  /** How long a cursor is good; default for ever, and then the same page always has the same cursor. */
  readonly cursorTtlMs?: number;
  /** Holds every answer back; default 0. */
  readonly latencyMs?: number;
  /** API requests let through in any second; beyond it 429 with Retry-After. Default no limit. */
  readonly rateLimitPerSecond?: number;
  /** Whether `requests` is kept (at most the last 100,000); default true. */
  readonly logRequests?: boolean;
  /** Awaited before a request is looked at: the place to hold it, or to change data, faults or tokens. */
  readonly onRequest?: (request: SandboxRequest) => void | Promise<void>;
  /** Milliseconds since the Unix epoch. */
  readonly now?: () => number;
  readonly random?: (size: number) => Buffer;
  readonly sleep?: (ms: number) => Promise<void>;
}

export interface Sandbox extends AsyncDisposable {
  readonly port: number;
  /** `http://127.0.0.1:<port>/platform/v2` */
  readonly apiUrl: string;
  /** `http://127.0.0.1:<port>/oauth/token` */
  readonly authUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly data: SandboxData;
  readonly faults: FaultBook;
  readonly tokens: TokenStore;
  /** The requests to the contract's endpoints so far, oldest first. */
  readonly requests: readonly SandboxRequest[];
  requestsFor(filter: RequestFilter): readonly SandboxRequest[];
  clearRequests(): void;
  /** Fresh tokens for a customer; throws for one that the data does not have. */
  issueTokens(customerId: string): IssuedTokens;
  /** Stops listening and drops every connection; may be called again. */
  close(): Promise<void>;
}

const customersPath = '/sandbox/customers';
const tokensPath = '/sandbox/tokens/';
const maxFormBytes = 16_384;

/** Starts a sandbox on 127.0.0.1; rejects when the port is taken. */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const { data = loadRealData(), now = Date.now } = options;
  const { clientId = 'sandbox-client', clientSecret = 'sandbox-secret' } = options;
  const tokens = createTokenStore({
    now,
    random: options.random ?? randomBytes,
    accessTokenTtlMs: options.accessTokenTtlMs ?? 15 * 60 * 1_000,
    refreshTokenTtlMs: options.refreshTokenTtlMs ?? 365 * 24 * 60 * 60 * 1_000,
    rotateRefreshTokens: options.rotateRefreshTokens ?? true,
    refreshTokenGraceMs: options.refreshTokenGraceMs ?? 0,
  });
  const cursors = createCursorCodec({ key: clientSecret, now, ttlMs: options.cursorTtlMs ?? null });
  const faults = createFaultBook();
  const log = createRequestLog(options.logRequests ?? true);
  const answerContract = createContract({
    context: { data, tokens, cursors, now, clientId, clientSecret, serial: counter() },
    faults,
    log,
    // Unreferenced: an answer that is held back keeps no process alive, the listening server does.
    sleep: options.sleep ?? ((ms) => sleepFor(ms, undefined, { ref: false })),
    latencyMs: options.latencyMs ?? 0,
    rateLimitPerSecond: options.rateLimitPerSecond ?? Infinity,
    onRequest: options.onRequest ?? (() => {}),
  });
  const serial = counter();

  function issueTokens(customerId: string): IssuedTokens {
    if (!data.hasCustomer(customerId)) throw new Error(`The sandbox has no customer ${customerId}.`);
    return tokens.issue(customerId);
  }

  function answerOwnRoute(method: string, path: string): Answer {
    if (method === 'GET' && path === customersPath) return ok({ customers: data.customerIds() });
    if (method === 'POST' && path.startsWith(tokensPath)) {
      const customerId = decodeURIComponent(path.slice(tokensPath.length));
      return data.hasCustomer(customerId)
        ? ok(issueTokens(customerId))
        : errorAnswer(404, 'No such customer');
    }
    return errorAnswer(404, 'Resource does not exist');
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const requestId = `sandbox-${serial()}`;
    response.setHeader('x-request-id', requestId);
    const method = request.method ?? 'GET';
    const { pathname, searchParams: query } = new URL(`http://sandbox${request.url ?? '/'}`);
    const endpoint = endpointOf(method, pathname);
    if (endpoint === null) return send(response, answerOwnRoute(method, pathname));
    const form = new URLSearchParams(method === 'POST' ? await readText(request) : '');
    const { authorization = '' } = request.headers;
    await answerContract({ requestId, endpoint, method, query, authorization, form }, response);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      if (!response.headersSent) send(response, errorAnswer(500, `The sandbox failed: ${error}`));
    });
  });
  // Longer than a client keeps an idle connection, so that none is closed just as it is used again.
  server.keepAliveTimeout = 60_000;
  const port = await listen(server, options.port ?? 0);
  const close = (): Promise<void> => closeServer(server);
  return {
    port,
    apiUrl: `http://127.0.0.1:${port}${apiPath}`,
    authUrl: `http://127.0.0.1:${port}${authPath}`,
    clientId,
    clientSecret,
    data,
    faults,
    tokens,
    requests: log.requests,
    requestsFor: log.requestsFor,
    clearRequests: log.clear,
    issueTokens,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function ok(content: object): Answer {
  return { status: 200, body: JSON.stringify(content) };
}

async function readText(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > maxFormBytes) throw new Error('The request is too large.');
  }
  return text;
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function counter(): () => number {
  let last = 0;
  return () => ++last;
}
