/** Answers that did not come, or not whole: each ends in time, in bounded memory, as the failure that it is. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { createMemoryData } from '../../src/sandbox/data-memory.ts';
import type { FaultAnswer } from '../../src/sandbox/faults.ts';
import { startSandbox } from '../../src/sandbox/server.ts';
import { waitFor } from '../support/wait-for.ts';
import { ASSETS_REQUEST, clientOf, failureAt, failureOf, never, serve, serveAnswer } from './wire.ts';

const SOON_MS = 150;

/** How the real contract's answer, spoiled by a fault of the sandbox, fails. */
async function failureWith(answer: FaultAnswer) {
  const data = createMemoryData();
  data.add('assets', 'alice', { provider_id: 'p', asset_symbol: 'BTC', quantity: '1' });
  await using sandbox = await startSandbox({ data });
  sandbox.faults.add({ answer });
  const bearer = sandbox.issueTokens('alice').access_token;
  const client = clientOf(`http://127.0.0.1:${sandbox.port}`, { timeoutMs: SOON_MS });
  return await failureOf(client.send({ endpoint: 'assets', bearer, signal: never }));
}

test('a refused connection', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  const port = typeof address === 'object' ? address?.port : 0;
  const failure = await failureAt(`http://127.0.0.1:${port}`);
  expect(failure).toMatchObject({ kind: 'network', httpStatus: null, code: null, body: null });
  expect(failure.detail).toContain('ECONNREFUSED');
});

test('a reset connection', async () => {
  expect(await failureWith({ reset: true })).toMatchObject({ kind: 'network', httpStatus: null });
});

test('no answer before the deadline', async () => {
  expect(await failureWith({ delayMs: Infinity })).toMatchObject({
    kind: 'network',
    detail: `no answer within ${SOON_MS} ms`,
  });
});

test('a body that stops coming', async () => {
  expect(await failureWith({ stallBodyAfterBytes: 10 })).toMatchObject({ kind: 'network', httpStatus: 200 });
});

test('a body that keeps coming, a byte at a time, is given up at the same deadline', async () => {
  const url = await serve((_request, response) => {
    response.writeHead(200);
    const drip = setInterval(() => response.write(' '), 10);
    response.on('close', () => clearInterval(drip));
  });
  expect(await failureAt(url, { timeoutMs: SOON_MS })).toMatchObject({ kind: 'network', httpStatus: 200 });
});

test('a body that is cut short', async () => {
  expect(await failureWith({ truncate: 10 })).toMatchObject({ kind: 'unreadable', httpStatus: 200 });
});

test('an answer that is no HTTP', async () => {
  const server = createServer((socket) => void socket.end('SSH-2.0-OpenSSH_9.6\r\n')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  expect((await failureAt(`http://127.0.0.1:${port}`)).kind).toBe('network');
  server.close();
});

test('a body over the limit, whole', async () => {
  expect(await failureAt(await serveAnswer(' '.repeat(2_000)), { maxBodyBytes: 1_000 })).toMatchObject({
    kind: 'unreadable',
    detail: 'the body is larger than 1000 bytes',
  });
  const fits = clientOf(await serveAnswer(`${' '.repeat(998)}{}`), { maxBodyBytes: 1_000 });
  expect((await fits.send(ASSETS_REQUEST)).body).toEqual({});
});

test('an endless body costs no more than the limit: the connection is closed there', async () => {
  let sent = 0;
  let closed = false;
  const chunk = Buffer.alloc(64 * 1024, 0x20);
  const url = await serve((_request, response) => {
    const more = () => {
      while (!response.destroyed && response.write(chunk)) sent += chunk.length;
      sent += chunk.length;
    };
    response.on('drain', more);
    response.on('close', () => {
      closed = true;
    });
    more();
  });
  const failure = await failureAt(url, { maxBodyBytes: 256 * 1024 });
  expect(failure.kind).toBe('unreadable');
  await waitFor(() => closed, { describe: 'the server’s connection to be closed' });
  // What the kernel's buffers took besides is a few megabytes at most.
  expect(sent).toBeLessThan(32 * 1024 * 1024);
});

test('a small answer that unpacks to gigabytes is one over the limit', async () => {
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, 0x20));
  const url = await serveAnswer(bomb, 200, { 'content-encoding': 'gzip' });
  expect(await failureAt(url, { maxBodyBytes: 1024 * 1024 })).toMatchObject({ kind: 'unreadable' });
});

test.each([429, 503, 401])('a refusal (%i) is one whatever became of its body', async (status) => {
  const headers = { 'retry-after': '30' };
  const tooLarge = await failureAt(await serveAnswer('x'.repeat(2_000), status, headers), {
    maxBodyBytes: 1_000,
  });
  expect(tooLarge).toMatchObject({ kind: 'refused', code: status, retryAfterMs: 30_000 });

  const cut = await serve((_request, response) => {
    response.writeHead(status, { ...headers, 'content-length': 100 }).write('{');
    response.socket?.destroySoon();
  });
  expect(await failureAt(cut)).toMatchObject({ kind: 'refused', code: status, retryAfterMs: 30_000 });

  const stalled = await serve((_request, response) => void response.writeHead(status, headers).write('{'));
  expect(await failureAt(stalled, { timeoutMs: SOON_MS })).toMatchObject({
    kind: 'refused',
    code: status,
    retryAfterMs: 30_000,
  });
});

test('stopped by the worker: before the request, while it waits, and within the body', async () => {
  const arrived = Promise.withResolvers<void>();
  const url = await serve((request, response) => {
    if (request.url?.includes('cursor')) response.writeHead(200).write('{');
    arrived.resolve();
  });
  const client = clientOf(url);
  expect((await failureOf(client.send({ ...ASSETS_REQUEST, signal: AbortSignal.abort() }))).kind).toBe(
    'aborted',
  );
  for (const query of [{}, { cursor: 'x' }]) {
    const stop = new AbortController();
    const asked = failureOf(client.send({ ...ASSETS_REQUEST, query, signal: stop.signal }));
    await arrived.promise;
    stop.abort();
    expect((await asked).kind).toBe('aborted');
  }
});
