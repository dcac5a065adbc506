/** Answers that came whole: which are read, which are refused, and which code counts. */
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { ASSETS_REQUEST, clientOf, failureAt, serve, serveAnswer } from './wire.ts';

const GOOD = '{"data":{"assets":[{"quantity":"7.40"}]}}';

const answerAt = async (url: string) => clientOf(url).send(ASSETS_REQUEST);

test.each([
  ['plain', GOOD, {}],
  ['with a byte order mark', `\ufeff${GOOD}`, {}],
  ['gzipped', gzipSync(GOOD), { 'content-encoding': 'gzip' }],
  ['in brotli', brotliCompressSync(GOOD), { 'content-encoding': 'br' }],
  ['said to be HTML', GOOD, { 'content-type': 'text/html' }],
])('JSON %s is read', async (_how, body, headers) => {
  const answer = await answerAt(await serveAnswer(body, 200, headers));
  expect(answer.code).toBe(200);
  expect(answer.body).toEqual(JSON.parse(GOOD));
});

test.each([
  ['not JSON', 'soon', 'the body is not JSON'],
  ['HTML under 200', '<html>Welcome</html>', 'the body is not JSON'],
  ['empty', '', 'the body is not JSON'],
  ['not UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0x22]), 'the body is not UTF-8'],
  ['raw bytes of a lone surrogate', Buffer.from([0x22, 0xed, 0xa0, 0xbd, 0x22]), 'the body is not UTF-8'],
])('an answer that is %s is unreadable', async (_what, body, detail) => {
  const failure = await failureAt(await serveAnswer(body));
  expect(failure).toMatchObject({ kind: 'unreadable', detail, httpStatus: 200, code: 200 });
});

test('said to be gzip and is not: unreadable', async () => {
  const failure = await failureAt(await serveAnswer(GOOD, 200, { 'content-encoding': 'gzip' }));
  expect(failure.kind).toBe('unreadable');
});

test.each([400, 401, 404, 418, 429, 500, 502, 503, 599, 601, 603, 703, 999])(
  'HTTP %i is refused under its own code, whatever its body is',
  async (status) => {
    for (const body of ['', '<html>Sorry</html>', '{"code":"603"}', '[]', Buffer.from([0xff])]) {
      const failure = await failureAt(await serveAnswer(body, status));
      expect(failure).toMatchObject({ kind: 'refused', httpStatus: status, code: status });
    }
  },
);

test.each([
  [200, '603', 603],
  [200, '603.0', 603],
  [500, '429', 429],
  [400, '703', 703],
  [503, '601', 601],
  [206, '500', 500],
])('HTTP %i with code %s in the body counts as %i', async (status, code, counts) => {
  const failure = await failureAt(await serveAnswer(`{"code":${code},"data":{"assets":[]}}`, status));
  expect(failure).toMatchObject({ kind: 'refused', httpStatus: status, code: counts });
});

test.each(['999', '42', '600', '-603', '603.5', '"603"', 'null', '[603]', '1e999', '{"code":603}'])(
  'a code %s in the body, which is none of the table, is ignored',
  async (code) => {
    const failure = await failureAt(await serveAnswer(`{"code":${code}}`, 500));
    expect(failure).toMatchObject({ kind: 'refused', code: 500 });
    expect((await answerAt(await serveAnswer(`{"code":${code}}`))).code).toBe(200);
  },
);

test.each([200, 201, 202, 206])('%i is a success', async (status) => {
  expect((await answerAt(await serveAnswer(GOOD, status))).code).toBe(status);
});

test('204 is none: there is nothing to read', async () => {
  expect(
    await failureAt(await serve((_request, response) => void response.writeHead(204).end())),
  ).toMatchObject({
    kind: 'refused',
    code: 204,
  });
});

test.each([301, 302, 303, 307, 308])(
  'a redirect (%i) is not followed: the next host gets no bearer',
  async (status) => {
    let visits = 0;
    const elsewhere = await serve((_request, response) => {
      visits++;
      response.end(GOOD);
    });
    const failure = await failureAt(await serveAnswer('{}', status, { location: `${elsewhere}/assets` }));
    expect(failure).toMatchObject({ kind: 'refused', code: status });
    expect(visits).toBe(0);
  },
);

test('evidence tells the request, its answer and the request id, and Postgres can hold it', async () => {
  const body = `{"code":603,"message":"no\0body ${'x'.repeat(10_000)}`;
  const url = await serveAnswer(body, 403, { 'x-request-id': 'abc', 'retry-after': '7' });
  const failure = await failureAt(url);
  expect(failure).toMatchObject({
    request: 'GET /platform/v2/assets',
    requestId: 'abc',
    retryAfterMs: 7_000,
    hadCursor: false,
    hadWindow: false,
  });
  expect(failure.body).not.toContain('\0');
  expect(failure.body?.length).toBeLessThan(4_200);
});
