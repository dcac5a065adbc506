/** Pages: where a walk ends, what a page must not say, and who was missing from it. */
import { expect, test } from 'vitest';
import { fetchPage, type Page, type PageRequest } from '../../src/calico/pages.ts';
import { createMemoryData } from '../../src/sandbox/data-memory.ts';
import type { FaultAnswer } from '../../src/sandbox/faults.ts';
import { startSandbox } from '../../src/sandbox/server.ts';
import { clientOf, errorOf, failureOf, never, serveAnswer } from './wire.ts';

const REQUEST: PageRequest = {
  endpoint: 'assets',
  cursor: null,
  limit: 2,
  startTime: null,
  bearer: 'the-bearer',
  signal: never,
};

async function pageOf(body: string, request: Partial<PageRequest> = {}, status = 200): Promise<Page> {
  return fetchPage(clientOf(await serveAnswer(body, status)), { ...REQUEST, ...request });
}

const withPage = (page: string, records = '1') => `{"data":{"assets":[${records}]},"page":${page}}`;

test.each([
  ['a null next_cursor', withPage('{"next_cursor":null}')],
  ['an empty next_cursor', withPage('{"next_cursor":""}')],
  ['no next_cursor', withPage('{}')],
  ['no page at all', '{"data":{"assets":[1]}}'],
  ['a page that is null', withPage('null')],
  ['has_more false, whatever the cursor', withPage('{"next_cursor":"x","has_more":false}')],
  ['has_more false and no cursor', withPage('{"has_more":false}')],
  ['an empty page without a cursor', withPage('{"next_cursor":null}', '')],
])('the end: %s', async (_what, body) => expect((await pageOf(body)).nextCursor).toBeNull());

test.each([
  ['a cursor', withPage('{"next_cursor":"x"}')],
  ['a cursor and has_more', withPage('{"next_cursor":"x","has_more":true}')],
  ['a cursor and has_more null', withPage('{"next_cursor":"x","has_more":null}')],
])('not the end: %s', async (_what, body) => expect((await pageOf(body)).nextCursor).toBe('x'));

test.each([
  ['has_more without a cursor', withPage('{"has_more":true}'), 'has_more but has no next_cursor'],
  [
    'has_more with an empty cursor',
    withPage('{"next_cursor":"","has_more":true}'),
    'has_more but has no next_cursor',
  ],
  ['an empty page with a cursor', withPage('{"next_cursor":"y"}', ''), 'empty but has a next_cursor'],
  ['its own cursor', withPage('{"next_cursor":"own"}'), 'its own cursor'],
  ['a cursor that is a number', withPage('{"next_cursor":7}'), 'page.next_cursor'],
  ['a has_more that is text', withPage('{"has_more":"true"}'), 'page.has_more'],
  ['no data', '{}', 'data'],
  ['data that is null', '{"data":null}', 'data'],
  ['data that is a list', '{"data":[]}', 'data'],
  ['no assets', '{"data":{}}', 'data.assets'],
  ['assets that are null', '{"data":{"assets":null}}', 'data.assets'],
  ['assets that are an object', '{"data":{"assets":{}}}', 'data.assets'],
  ['another stream', '{"data":{"transactions":[]}}', 'data.assets'],
  ['a list for a body', '[]', 'body'],
  ['null for a body', 'null', 'body'],
  ['errors without a cause', '{"data":{"assets":[]},"errors":[{"provider_id":"p"}]}', 'errors.0.cause'],
])('unreadable, never an empty page: %s', async (_what, body, detail) => {
  const failure = await failureOf(pageOf(body, { cursor: 'own' }));
  expect(failure).toMatchObject({ kind: 'unreadable', httpStatus: 200, hadCursor: true, body });
  expect(failure.detail).toContain(detail);
});

test.each<[string, FaultAnswer]>([
  ['the same cursor', { sameCursor: true }],
  ['an empty page with a cursor', { emptyPageWithCursor: true }],
  ['has_more without a cursor', { hasMoreWithoutCursor: true }],
])('the sandbox’s %s ends a walk on its second page', async (_what, answer) => {
  await using sandbox = await startSandbox({ data: fiveAssets() });
  sandbox.faults.add({ endpoint: 'assets', page: 2, answer });
  const walked: number[] = [];
  const error = await errorOf(collect(sandbox, walked));
  expect(error.failure.kind).toBe('unreadable');
  expect(walked).toEqual([2]);
});

test('the pages of a stream lead from one to the next', async () => {
  await using sandbox = await startSandbox({ data: fiveAssets() });
  const walked: number[] = [];
  await collect(sandbox, walked);
  expect(walked).toEqual([2, 2, 1]);
  expect(sandbox.requestsFor({ endpoint: 'assets' })).toHaveLength(3);
});

test('206 with names, 206 without, and names under 200 are all partial', async () => {
  const named = '"errors":[{"provider_id":"kraken","cause":"provider_unavailable","more":1},{"cause":"x"}]';
  const errors = [
    { providerId: 'kraken', cause: 'provider_unavailable', message: null },
    { providerId: null, cause: 'x', message: null },
  ];
  expect(await pageOf(`{"data":{"assets":[]},${named}}`, {}, 206)).toMatchObject({ partial: true, errors });
  expect(await pageOf(`{"data":{"assets":[]},${named}}`)).toMatchObject({ partial: true, errors });
  expect(await pageOf('{"data":{"assets":[]}}', {}, 206)).toMatchObject({ partial: true, errors: [] });
  expect(await pageOf('{"code":206,"data":{"assets":[]}}')).toMatchObject({ partial: true, errors: [] });
  expect(await pageOf('{"data":{"assets":[]},"errors":null}')).toMatchObject({ partial: false, errors: [] });
});

test('206 stays partial where the body says code 200', async () => {
  expect((await pageOf('{"code":200,"data":{"assets":[]}}', {}, 206)).partial).toBe(true);
});

test('a record’s source is what stood in the answer, whatever the other records are', async () => {
  const records = [' {"a" : 1.50} ', 'null', '[]', '"\\u0000"', '{"a":1,"a":2}'];
  const page = await pageOf(`\ufeff{"data":{"assets":[${records.join(',')}]}}`);
  expect(page.records).toHaveLength(records.length);
  expect(records.map((_record, index) => page.records.sourceOf(index))).toEqual(
    records.map((record) => record.trim()),
  );
});

test('the request names cursor, limit and window as the contract does', async () => {
  const failure = await failureOf(
    fetchPage(clientOf(await serveAnswer('{}', 400)), {
      ...REQUEST,
      endpoint: 'transactions',
      cursor: 'a b&c',
      limit: 100,
      startTime: new Date(1_683_000_000_000),
    }),
  );
  expect(failure.request).toBe(
    'GET /platform/v2/transactions?limit=100&cursor=a+b%26c&start_time=1683000000000',
  );
  expect(failure).toMatchObject({ hadCursor: true, hadWindow: true });
});

function fiveAssets() {
  const data = createMemoryData();
  const assets = ['A', 'B', 'C', 'D', 'E'];
  data.add(
    'assets',
    'alice',
    ...assets.map((asset_symbol) => ({ provider_id: 'p', asset_symbol, quantity: '1' })),
  );
  return data;
}

async function collect(sandbox: Awaited<ReturnType<typeof startSandbox>>, walked: number[]): Promise<void> {
  const client = clientOf(`http://127.0.0.1:${sandbox.port}`);
  const bearer = sandbox.issueTokens('alice').access_token;
  for (let cursor: string | null = null, isFirst = true; isFirst || cursor !== null; isFirst = false) {
    const page: Page = await fetchPage(client, { ...REQUEST, bearer, cursor });
    walked.push(page.records.length);
    cursor = page.nextCursor;
  }
}
