import { setTimeout as sleepFor } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createMemoryData } from '../../src/sandbox/data-memory.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { call, idsOf, page, requestToken, transaction, walk } from './client.ts';

let sandbox: Sandbox;
let slept: number[];
beforeEach(async () => {
  const data = createMemoryData();
  data.add('transactions', 'ann', ...['a', 'b', 'c', 'd'].map((id) => transaction(id)));
  data.add('transactions', 'bob', transaction('x'));
  slept = [];
  sandbox = await startSandbox({
    data,
    sleep: async (ms) => {
      slept.push(ms);
    },
  });
});
afterEach(() => sandbox.close());

const pageOfAnn = (): ReturnType<typeof page> => page(sandbox, 'transactions', 'ann', { limit: 2 });

describe('in place of an answer', () => {
  test.each([429, 503, 603])('a status of %i with its headers', async (status) => {
    sandbox.faults.add({ answer: { status, headers: { 'retry-after': '7' } } });
    const answer = await pageOfAnn();
    expect(answer).toMatchObject({ status, body: { code: status } });
    expect(answer.headers.get('retry-after')).toBe('7');
    expect((await pageOfAnn()).status).toBe(200);
  });

  test('a body of its own', async () => {
    sandbox.faults.add({ answer: { status: 500, body: { code: 501, extra: [1] } } });
    expect(await pageOfAnn()).toMatchObject({ status: 500, body: { code: 501, extra: [1] } });
  });

  test('a code in the body only', async () => {
    sandbox.faults.add({ answer: { bodyCode: 603 } });
    expect(await pageOfAnn()).toMatchObject({ status: 200, body: { code: 603 } });
  });

  test('text that is no JSON', async () => {
    sandbox.faults.add({ answer: { rawBody: '<html>', headers: { 'content-type': 'text/html' } } });
    const { access_token } = sandbox.issueTokens('ann');
    const { text, headers } = await call(sandbox, access_token, 'GET /assets');
    expect([text, headers.get('content-type')]).toEqual(['<html>', 'text/html']);
  });

  test('a reset connection, and the request is not acted upon', async () => {
    const { refresh_token } = sandbox.issueTokens('ann');
    sandbox.faults.add({ endpoint: 'token', answer: { reset: true } });
    await expect(requestToken(sandbox, { refresh_token })).rejects.toMatchObject({
      cause: { code: 'ECONNRESET' },
    });
    expect(sandbox.requests.at(-1)?.status).toBeNull();
    expect((await requestToken(sandbox, { refresh_token })).status).toBe(200);
  });
});

describe('to the true answer', () => {
  test('another status of success', async () => {
    sandbox.faults.add({ endpoint: 'refreshTransactions', answer: { status: 202 } });
    const { access_token } = sandbox.issueTokens('ann');
    const { status, text } = await call(sandbox, access_token, 'POST /transactions/refresh');
    expect([status, JSON.parse(text).data.status]).toEqual([202, 'completed']);
  });

  test('a cut, under a promise of the whole length', async () => {
    sandbox.faults.add({ answer: { truncate: 10 } });
    await expect(pageOfAnn()).rejects.toThrow('terminated');
  });

  test('a cut of a token, which is spent all the same', async () => {
    const { refresh_token } = sandbox.issueTokens('ann');
    sandbox.faults.add({ endpoint: 'token', answer: { truncate: 0 } });
    await expect(requestToken(sandbox, { refresh_token })).rejects.toThrow('terminated');
    expect((await requestToken(sandbox, { refresh_token })).body).toEqual({ error: 'invalid_grant' });
  });

  test('silence after some bytes', async () => {
    sandbox.faults.add({ answer: { stallBodyAfterBytes: 5 } });
    const { access_token } = sandbox.issueTokens('ann');
    const response = await fetch(`${sandbox.apiUrl}/assets`, {
      headers: { authorization: `Bearer ${access_token}` },
    });
    const reader = response.body?.getReader();
    const first = await reader?.read();
    expect(Buffer.from(first?.value ?? []).toString()).toBe('{"dat');
    const more = reader?.read().then(
      () => 'more',
      () => 'dropped',
    );
    await sandbox.close();
    expect(await more).toBe('dropped');
  });

  test('a delay', async () => {
    sandbox.faults.add({ answer: { delayMs: 1_234 } });
    expect((await pageOfAnn()).status).toBe(200);
    expect(slept).toEqual([1_234]);
  });

  test('none at all, for ever', async () => {
    sandbox.faults.add({ answer: { delayMs: Infinity } });
    const silence = pageOfAnn().then(
      () => 'answered',
      () => 'dropped',
    );
    while (sandbox.requests.length === 0) await sleepFor(1);
    await sandbox.close();
    expect(await silence).toBe('dropped');
  });
});

describe('in the walk', () => {
  test('206 with the data and the providers that are down', async () => {
    const error = { provider_id: 'coinbase', cause: 'provider_unavailable', message: 'down' };
    sandbox.faults.add({ times: Infinity, answer: { partial: [error] } });
    const { status, body } = await pageOfAnn();
    expect([status, body.errors, idsOf([{ body }])]).toEqual([206, [error], ['a', 'b']]);
    const { access_token } = sandbox.issueTokens('ann');
    expect((await call(sandbox, access_token, 'POST /assets/refresh')).status).toBe(206);
  });

  test('the same cursor again', async () => {
    sandbox.faults.add({ page: 2, answer: { sameCursor: true } });
    const cursor = (await pageOfAnn()).body.page.next_cursor ?? '';
    const second = await page(sandbox, 'transactions', 'ann', { limit: 2, cursor });
    expect(second.body.page).toMatchObject({ next_cursor: cursor, has_more: true });
  });

  test('the same cursor from the first page on', async () => {
    sandbox.faults.add({ times: 2, answer: { sameCursor: true } });
    const first = await pageOfAnn();
    const cursor = first.body.page.next_cursor ?? '';
    const second = await page(sandbox, 'transactions', 'ann', { limit: 2, cursor });
    expect(second.text).toBe(first.text);
  });

  test('an empty page that leads on to the records it left out', async () => {
    sandbox.faults.add({ page: 2, times: 2, answer: { emptyPageWithCursor: true } });
    const pages = await walk(sandbox, 'transactions', 'ann', { limit: 2 });
    expect(pages.map(({ body }) => body.data['transactions']?.length)).toEqual([2, 0, 0, 2]);
    expect(new Set(pages.map(({ body }) => body.page.next_cursor)).size).toBe(4);
    expect(idsOf(pages)).toEqual(['a', 'b', 'c', 'd']);
  });

  test('more is promised without a cursor', async () => {
    sandbox.faults.add({ answer: { hasMoreWithoutCursor: true } });
    expect((await pageOfAnn()).body.page).toMatchObject({ next_cursor: null, has_more: true });
  });

  test('no end, and never the same cursor twice', async () => {
    sandbox.faults.add({ times: 7, answer: { endlessWalk: true } });
    const pages = await walk(sandbox, 'transactions', 'ann', { limit: 3 });
    expect(idsOf(pages).join('')).toBe('abcdabcdabcdabcd');
    const loops = pages.map(({ body }) => body.page.next_cursor).filter((_cursor, index) => index % 2 === 1);
    expect(new Set(loops).size).toBe(4);
  });
});

describe('a rule', () => {
  const statuses = async (customerIds: readonly string[]): Promise<number[]> => {
    const found: number[] = [];
    for (const customerId of customerIds)
      found.push((await page(sandbox, 'transactions', customerId)).status);
    return found;
  };

  test('fires once, on the first request, unless it says otherwise', async () => {
    const handle = sandbox.faults.add({ answer: { status: 500 } });
    expect(await statuses(['ann', 'ann'])).toEqual([500, 200]);
    expect(handle.hits).toBe(1);
  });

  test('counts requests for each customer, from when it was added', async () => {
    await statuses(['ann']);
    sandbox.faults.add({ page: 2, times: Infinity, answer: { status: 500 } });
    expect(await statuses(['ann', 'bob', 'ann', 'bob', 'ann'])).toEqual([200, 200, 500, 500, 500]);
  });

  test('is about the endpoint, customer and query that it names', async () => {
    sandbox.faults.add({ endpoint: 'assets', answer: { status: 500 } });
    sandbox.faults.add({ customerId: 'bob', answer: { status: 501 } });
    sandbox.faults.add({ when: ({ query }) => query['limit'] === '99', answer: { status: 502 } });
    expect(await statuses(['ann', 'bob'])).toEqual([200, 501]);
    expect((await page(sandbox, 'transactions', 'ann', { limit: 99 })).status).toBe(502);
  });

  test('gives way to one added before it, and has its turn after', async () => {
    sandbox.faults.add({ answer: { status: 500 } });
    sandbox.faults.add({ answer: { status: 502 } });
    expect(await statuses(['ann', 'ann', 'ann'])).toEqual([500, 502, 200]);
  });

  test('stops when it is removed, and all stop when the book is cleared', async () => {
    const handle = sandbox.faults.add({ times: Infinity, answer: { status: 500 } });
    sandbox.faults.add({ times: Infinity, answer: { status: 502 } });
    expect(await statuses(['ann'])).toEqual([500]);
    handle.remove();
    expect(await statuses(['ann'])).toEqual([502]);
    sandbox.faults.clear();
    expect(await statuses(['ann'])).toEqual([200]);
  });
});
