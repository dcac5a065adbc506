import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createMemoryData, type MemoryData } from '../../src/sandbox/data-memory.ts';
import { type SandboxOptions, startSandbox } from '../../src/sandbox/server.ts';
import { createRequestLog } from '../../src/sandbox/server-log.ts';
import { call, page, requestToken, transaction } from './client.ts';

function dataOfAnn(): MemoryData {
  const data = createMemoryData();
  data.add('transactions', 'ann', transaction('a'), transaction('b'));
  return data;
}

const start = (options: SandboxOptions = {}): ReturnType<typeof startSandbox> =>
  startSandbox({ data: dataOfAnn(), ...options });

describe('the endpoints without pages', () => {
  test('providers are those of the customer', async () => {
    await using sandbox = await start();
    const { access_token } = sandbox.issueTokens('ann');
    const { status, text } = await call(sandbox, access_token, 'GET /providers');
    const coinbase = { provider_id: 'coinbase', display_label: 'Coinbase', status: 'connected' };
    expect([status, JSON.parse(text)]).toEqual([200, { data: { providers: [coinbase] } }]);
  });

  test.each(['assets', 'transactions'])('a refresh of %s is done at once', async (stream) => {
    await using sandbox = await start({ now: () => 77 });
    const { access_token } = sandbox.issueTokens('ann');
    const { status, text } = await call(sandbox, access_token, `POST /${stream}/refresh`);
    expect([status, JSON.parse(text)]).toEqual([200, { data: { status: 'completed', refreshed_at: 77 } }]);
  });

  test.each(['GET /nothing', 'POST /assets', 'GET /assets/refresh'])('%s does not exist', async (request) => {
    await using sandbox = await start();
    const { status, text } = await call(sandbox, 'any', request);
    expect({ status, code: JSON.parse(text).code }).toEqual({ status: 404, code: 404 });
  });
});

describe('the log of requests', () => {
  test('tells who asked what and when, and what the answer was', async () => {
    await using sandbox = await start({ now: () => 55 });
    const { access_token } = sandbox.issueTokens('ann');
    const { headers } = await call(sandbox, access_token, 'GET /transactions', { limit: 1 });
    expect(sandbox.requests).toEqual([
      {
        requestId: headers.get('x-request-id'),
        endpoint: 'transactions',
        method: 'GET',
        customerId: 'ann',
        query: { limit: '1' },
        status: 200,
        atMs: 55,
        tokenFingerprint: createHash('sha256').update(access_token).digest('hex').slice(0, 12),
      },
    ]);
  });

  test('holds no token', async () => {
    await using sandbox = await start();
    const { access_token, refresh_token } = sandbox.issueTokens('ann');
    await call(sandbox, access_token, 'GET /assets');
    await requestToken(sandbox, { refresh_token });
    const written = JSON.stringify(sandbox.requests);
    for (const secret of [access_token, refresh_token, sandbox.clientSecret])
      expect(written).not.toContain(secret);
  });

  test('is searched, cleared and switched off', async () => {
    await using sandbox = await start();
    await page(sandbox, 'assets', 'ann');
    await call(sandbox, 'unknown', 'GET /assets');
    expect(sandbox.requestsFor({ endpoint: 'assets', status: 401 })).toMatchObject([{ customerId: null }]);
    expect(sandbox.requestsFor({ customerId: 'ann', method: 'POST' })).toEqual([]);
    sandbox.clearRequests();
    expect(sandbox.requests).toEqual([]);

    await using silent = await start({ logRequests: false });
    await page(silent, 'assets', 'ann');
    expect(silent.requests).toEqual([]);
  });
});

test('the log forgets its older half rather than grow beyond 100,000', () => {
  const log = createRequestLog(true);
  const entry = {
    endpoint: 'assets',
    method: 'GET',
    customerId: null,
    query: {},
    atMs: 0,
    tokenFingerprint: null,
  } as const;
  for (let index = 0; index <= 100_000; index += 1)
    log.keep({ ...entry, requestId: String(index), status: 200 });
  expect(log.requests).toHaveLength(50_001);
  expect(log.requests.at(-1)?.requestId).toBe('100000');
});

test('every answer has a request id of its own', async () => {
  await using sandbox = await start();
  const answers = [await page(sandbox, 'assets', 'ann'), await call(sandbox, 'unknown', 'GET /nowhere')];
  const ids = answers.map(({ headers }) => headers.get('x-request-id'));
  expect(ids).not.toContain(null);
  expect(new Set(ids).size).toBe(2);
});

test('beyond the rate a request is turned away, wherever the second begins', async () => {
  let nowMs = 10_000;
  await using sandbox = await start({ rateLimitPerSecond: 2, now: () => nowMs });
  const { access_token, refresh_token } = sandbox.issueTokens('ann');
  const ask = (): ReturnType<typeof call> => call(sandbox, access_token, 'GET /assets');
  expect((await ask()).status).toBe(200);
  nowMs = 10_900;
  expect((await ask()).status).toBe(200);
  const refused = await ask();
  expect(refused.status).toBe(429);
  expect(refused.headers.get('retry-after')).toBe('1');
  expect((await requestToken(sandbox, { refresh_token })).status).toBe(200);
  nowMs = 11_000;
  expect([(await ask()).status, (await ask()).status]).toEqual([200, 429]);
});

test('every answer waits for the latency', async () => {
  const slept: number[] = [];
  await using sandbox = await start({
    latencyMs: 40,
    sleep: async (ms) => {
      slept.push(ms);
    },
  });
  await page(sandbox, 'assets', 'ann');
  await page(sandbox, 'transactions', 'ann');
  expect(slept).toEqual([40, 40]);
});

describe('the hook', () => {
  test('holds a request until the test lets go, and may change data and tokens before it is answered', async () => {
    const data = dataOfAnn();
    const gate = Promise.withResolvers<void>();
    await using sandbox = await start({ data, onRequest: () => gate.promise });
    const asked = page(sandbox, 'transactions', 'ann');
    data.remove('transactions', 'ann', 'a');
    gate.resolve();
    expect((await asked).body.data['transactions']).toHaveLength(1);
  });

  test('may end the token of the very request', async () => {
    await using sandbox = await start({ onRequest: () => sandbox.tokens.expireAccessTokens('ann') });
    expect((await page(sandbox, 'assets', 'ann')).status).toBe(401);
    expect(sandbox.requests).toMatchObject([{ customerId: 'ann', status: 401 }]);
  });

  test('that throws becomes a 500 which says so', async () => {
    await using sandbox = await start({ onRequest: () => Promise.reject(new Error('no such luck')) });
    const { status, text } = await page(sandbox, 'assets', 'ann');
    expect(status).toBe(500);
    expect(text).toContain('no such luck');
  });
});

test('a port that is taken is an error; a closed sandbox gives its port back and closes again', async () => {
  const sandbox = await start();
  await expect(start({ port: sandbox.port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await sandbox.close();
  await sandbox.close();
  const next = await start({ port: sandbox.port });
  expect(next.port).toBe(sandbox.port);
  await next.close();
});
