import { pipeline, type Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { type Dispatcher, request as httpRequest } from 'undici';
import type { z } from 'zod';
import { ENDPOINTS, type Endpoint, errorCode, RECORDS_PATH } from './contract.ts';
import { CalicoError, type Failure, type FailureKind } from './errors.ts';
import { escapeUnstorable, parseExactJson } from './json.ts';
import { parseWithRecords, type Records } from './records.ts';
import { createRedactor } from './redact.ts';
import { isKnownCode, isSuccess } from './response-codes.ts';

export type ClientOptions = {
  apiUrl: string;
  authUrl: string;
  /** Up to the first byte of the answer, and again for its body. */
  timeoutMs: number;
  /** Of a body, decompressed. */
  maxBodyBytes: number;
  now: () => number;
};

export type Request = {
  endpoint: Endpoint;
  query?: Record<string, string>;
  form?: URLSearchParams;
  bearer?: string;
  /** Whatever must not be quoted in evidence besides the bearer. */
  secrets?: readonly string[];
  signal: AbortSignal;
};

/** A success: 200, 201, 202 or 206 by the code that counts. `records` null: it has none; what `body` has of them is what `peek` has. */
export type Answer = { code: number; body: unknown; records: Records | null; failAs: FailWith };

/** Makes the typed failure of an answer that came but does not make sense. */
export type FailWith = (kind: FailureKind, detail: string) => CalicoError;

export type CalicoClient = { send(request: Request): Promise<Answer> };

const EVIDENCE_BYTES = 4096;

/**
 * Calico over HTTP: sends one request, once, and either answers or throws a `CalicoError` that says what happened.
 * It neither retries nor judges; redirects are not followed, since the next host must not get the bearer.
 */
export function createCalicoClient(options: ClientOptions): CalicoClient {
  return { send: (request) => send(options, request) };
}

async function send(options: ClientOptions, request: Request): Promise<Answer> {
  const { url, method } = target(options, request);
  const known: Partial<Failure> = {};
  let evidence: Uint8Array | null = null;
  const failAs: FailWith = (kind, detail) => {
    const { redact, quote } = createRedactor([request.bearer ?? '', ...(request.secrets ?? [])]);
    return new CalicoError({
      kind,
      endpoint: request.endpoint,
      request: redact(`${method} ${url.pathname}${url.search}`),
      detail: redact(detail),
      httpStatus: null,
      code: null,
      retryAfterMs: null,
      hadCursor: url.searchParams.has('cursor'),
      hadWindow: url.searchParams.has('start_time'),
      ...known,
      requestId: known.requestId ? redact(known.requestId) : null,
      // It is kept in Postgres, whatever bytes came.
      body: evidence && escapeUnstorable(quote(evidence, EVIDENCE_BYTES)),
    });
  };

  const deadline = startDeadline(options.timeoutMs);
  try {
    // Half of what `fetch` costs, whose streams are a third of the CPU of a page of a hundred records.
    const response = await httpRequest(url, {
      method,
      headers: {
        accept: 'application/json',
        'accept-encoding': Object.keys(DECODERS).join(', '),
        'user-agent': 'calico-sync',
        ...(request.bearer === undefined ? {} : { authorization: `Bearer ${request.bearer}` }),
        ...(request.form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
      },
      ...(request.form === undefined ? {} : { body: String(request.form) }),
      signal: AbortSignal.any([request.signal, deadline.signal]),
    });
    const { statusCode: httpStatus, headers } = response;
    known.httpStatus = httpStatus;
    known.code = httpStatus;
    known.requestId = first(headers['x-request-id']);
    known.retryAfterMs = parseRetryAfter(first(headers['retry-after']), options.now());
    deadline.restart();

    const bytes = await readBody(decoded(response), options.maxBodyBytes);
    // A token answer that succeeded holds tokens that nobody knows yet: it is no evidence.
    if (request.endpoint !== 'token' || httpStatus < 200 || httpStatus > 299) evidence = bytes;
    const { text, body, records } = parseBody(bytes, request.endpoint);
    known.code = codeThatCounts(httpStatus, body);
    const code = known.code;
    if (!isSuccess(code)) throw failAs('refused', describeCode(code, httpStatus));
    if (text === null) throw failAs('unreadable', 'the body is not UTF-8');
    if (body === undefined) throw failAs('unreadable', 'the body is not JSON');
    return { code, body, records, failAs };
  } catch (error) {
    if (error instanceof CalicoError) throw error;
    if (request.signal.aborted) throw failAs('aborted', 'stopped by the worker');
    const late = deadline.signal.aborted ? `no answer within ${options.timeoutMs} ms` : null;
    if (known.code && !isSuccess(known.code)) {
      // A refusal is one whatever became of its body: a 429 cut short is no less a 429.
      throw failAs(
        'refused',
        `${describeCode(known.code, known.code)}, and ${late ?? describeBroken(error)}`,
      );
    }
    throw failAs(late || known.code === undefined ? 'network' : 'unreadable', late ?? describeBroken(error));
  } finally {
    deadline.stop();
  }
}

/**
 * The body's code where it is one of the documentation's, else the HTTP status. One exception: no body takes back a 206,
 * for whoever believed it would take a missing provider's rows for deleted.
 */
function codeThatCounts(httpStatus: number, body: unknown): number {
  const { success, data } = errorCode.safeParse(body);
  if (!success || !isKnownCode(data)) return httpStatus;
  return httpStatus === 206 && isSuccess(data) ? 206 : data;
}

function target(options: ClientOptions, request: Request): { url: URL; method: 'GET' | 'POST' } {
  if (request.endpoint === 'token') return { url: new URL(options.authUrl), method: 'POST' };
  const { method, path } = ENDPOINTS[request.endpoint];
  const url = new URL(options.apiUrl.replace(/\/$/, '') + path);
  for (const [name, value] of Object.entries(request.query ?? {})) url.searchParams.set(name, value);
  return { url, method };
}

/** Aborts `timeoutMs` after it started or was last restarted. */
function startDeadline(timeoutMs: number) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), timeoutMs);
  return { signal: controller.signal, restart: () => timer.refresh(), stop: () => clearTimeout(timer) };
}

class BodyTooLarge extends Error {}

/** Content codings (RFC 9110, 8.4.1) that a body may come in, one inside the other. */
const DECODERS = { gzip: createGunzip, br: createBrotliDecompress, deflate: createInflate };

function decoded({ headers, body }: Dispatcher.ResponseData): Readable {
  const codings = first(headers['content-encoding'])?.split(',').toReversed() ?? [];
  return codings.reduce<Readable>((stream, coding) => {
    const decoder = DECODERS[coding.trim().toLowerCase() as keyof typeof DECODERS];
    // Whoever reads the decoder hears of an error before it, and ends all when it leaves.
    return decoder ? pipeline(stream, decoder(), () => {}) : stream;
  }, body);
}

function first(header: string | string[] | undefined): string | null {
  return (Array.isArray(header) ? header[0] : header) ?? null;
}

async function readBody(body: Readable, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    // Leaving the loop cancels the stream: a body of any size costs no more memory than the limit.
    if (size > maxBytes) throw new BodyTooLarge(`the body is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

/** `text` null: not UTF-8; `body` undefined: not JSON. An error's body may be either, its code still counts. */
function parseBody(
  bytes: Uint8Array,
  endpoint: Endpoint,
): { text: string | null; body: unknown; records: Records | null } {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    try {
      if (endpoint === 'assets' || endpoint === 'transactions')
        return { text, ...parseWithRecords(text, RECORDS_PATH[endpoint]) };
      return { text, body: parseExactJson(text), records: null };
    } catch {
      return { text, body: undefined, records: null };
    }
  } catch {
    return { text: null, body: undefined, records: null };
  }
}

/** Reads an answer's body as `schema`, or fails as unreadable with the path of what is missing. */
export function readAnswer<T extends z.ZodType>(answer: Answer, schema: T): z.output<T> {
  const result = schema.safeParse(answer.body);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw answer.failAs('unreadable', `the answer's ${issue?.path.join('.') || 'body'}: ${issue?.message}`);
}

/** It is a floor; but what is no date any more when it is added to now would be lost. */
const MAX_RETRY_AFTER_MS = 365 * 24 * 60 * 60 * 1000;
/** HTTP-date, all three forms (RFC 9110, 5.6.7); `Date.parse` alone finds a year in almost anything. */
const HTTP_DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? [\w: -]+?(?<zone> GMT)?$/;

/**
 * Retry-After: delay-seconds or HTTP-date (RFC 9110, 10.2.3), as milliseconds from now, at most a year; null where absent
 * or senseless.
 */
export function parseRetryAfter(value: string | null, nowMs: number): number | null {
  if (value === null) return null;
  if (/^\d+$/.test(value)) return Math.min(Number(value) * 1000, MAX_RETRY_AFTER_MS);
  const date = HTTP_DATE.exec(value);
  const at = date ? Date.parse(date.groups?.['zone'] ? value : `${value} GMT`) : Number.NaN;
  return Number.isNaN(at) ? null : Math.min(Math.max(0, at - nowMs), MAX_RETRY_AFTER_MS);
}

function describeCode(code: number, httpStatus: number): string {
  return code === httpStatus
    ? `Calico answered ${code}`
    : `Calico answered code ${code} (HTTP ${httpStatus})`;
}

/** Where an error only says that something failed, its cause has the system's code. */
export function describeBroken(error: unknown): string {
  if (error instanceof BodyTooLarge) return error.message;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return 'the request failed';
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
  return `no whole answer (${code}${cause.message ? `: ${cause.message}` : ''})`;
}
