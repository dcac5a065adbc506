/** A server that answers byte for byte what a test wants, and a client that asks it. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import {
  type CalicoClient,
  type ClientOptions,
  createCalicoClient,
  type Request,
} from '../../src/calico/client.ts';
import { CalicoError, type Failure } from '../../src/calico/errors.ts';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Serves until the test ends; connections that are still open are dropped then. */
export async function serve(handler: Handler): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Serves one answer, whatever is asked. */
export function serveAnswer(
  body: string | Uint8Array,
  status = 200,
  headers: Record<string, string> = {},
): Promise<string> {
  return serve((_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
  });
}

export const NOW_MS = Date.UTC(2025, 0, 1);

export function clientOf(url: string, options: Partial<ClientOptions> = {}): CalicoClient {
  return createCalicoClient({
    apiUrl: `${url}/platform/v2`,
    authUrl: `${url}/oauth/token`,
    timeoutMs: 20_000,
    maxBodyBytes: 1024 * 1024,
    now: () => NOW_MS,
    ...options,
  });
}

export const never = new AbortController().signal;

export const ASSETS_REQUEST: Request = { endpoint: 'assets', bearer: 'the-bearer', signal: never };

/** Asks for a page of assets and tells what kept it from an answer. */
export async function failureAt(url: string, options: Partial<ClientOptions> = {}): Promise<Failure> {
  return failureOf(clientOf(url, options).send(ASSETS_REQUEST));
}

export async function failureOf(asked: Promise<unknown>): Promise<Failure> {
  return (await errorOf(asked)).failure;
}

export async function errorOf(asked: Promise<unknown>): Promise<CalicoError> {
  const outcome = await asked.then(
    () => 'an answer',
    (error: unknown) => error,
  );
  if (outcome instanceof CalicoError) return outcome;
  throw new Error('a CalicoError was expected', { cause: outcome });
}
