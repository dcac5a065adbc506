import { expect, test } from 'vitest';
import { createMemoryData } from '../../src/sandbox/data-memory.ts';
import { type SandboxOptions, startSandbox } from '../../src/sandbox/server.ts';
import { call, requestToken, transaction } from './client.ts';

function options(): SandboxOptions {
  const data = createMemoryData();
  data.add('transactions', 'ann', transaction('of-ann'));
  data.add('transactions', 'bob', transaction('of-bob'));
  return { data };
}

test('a token shows its own customer and no other', async () => {
  await using sandbox = await startSandbox(options());
  const { access_token } = sandbox.issueTokens('ann');
  const { text } = await call(sandbox, access_token, 'GET /transactions');
  expect(text).toContain('of-ann');
  expect(text).not.toContain('of-bob');
});

test.each(['', 'unknown', 'two words'])('the token "%s" is refused with 401', async (token) => {
  await using sandbox = await startSandbox(options());
  const { status, text } = await call(sandbox, token, 'GET /assets');
  expect({ status, code: JSON.parse(text).code }).toEqual({ status: 401, code: 401 });
});

test('an access token ends after its 15 minutes, to the millisecond', async () => {
  let nowMs = 0;
  await using sandbox = await startSandbox({ ...options(), now: () => nowMs });
  const { access_token, expires_in } = sandbox.issueTokens('ann');
  expect(expires_in).toBe(900);
  nowMs = 899_999;
  expect((await call(sandbox, access_token, 'GET /assets')).status).toBe(200);
  nowMs = 900_000;
  expect((await call(sandbox, access_token, 'GET /assets')).status).toBe(401);
});

test('a refresh token is good once, and brings the next one', async () => {
  await using sandbox = await startSandbox(options());
  const { refresh_token } = sandbox.issueTokens('ann');
  const first = await requestToken(sandbox, { refresh_token });
  expect(first).toMatchObject({ status: 200, body: { token_type: 'Bearer', expires_in: 900 } });
  expect((await call(sandbox, String(first.body['access_token']), 'GET /assets')).status).toBe(200);

  expect(await requestToken(sandbox, { refresh_token })).toEqual({
    status: 400,
    body: { error: 'invalid_grant' },
  });
  const next = await requestToken(sandbox, { refresh_token: String(first.body['refresh_token']) });
  expect(next.status).toBe(200);
});

test('of two uses of one refresh token at once, one succeeds', async () => {
  await using sandbox = await startSandbox(options());
  const { refresh_token } = sandbox.issueTokens('ann');
  const answers = await Promise.all([
    requestToken(sandbox, { refresh_token }),
    requestToken(sandbox, { refresh_token }),
  ]);
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
});

test('without rotation a refresh token stays good and none comes back', async () => {
  await using sandbox = await startSandbox({ ...options(), rotateRefreshTokens: false });
  const { refresh_token } = sandbox.issueTokens('ann');
  for (const _use of [1, 2]) {
    const { status, body } = await requestToken(sandbox, { refresh_token });
    expect(status).toBe(200);
    expect(body).not.toHaveProperty('refresh_token');
  }
});

test('with a grace a refresh token that was used is good for that long, and each use brings another', async () => {
  let nowMs = 0;
  const grace = { refreshTokenGraceMs: 1_000, now: () => nowMs };
  await using sandbox = await startSandbox({ ...options(), ...grace });
  const { refresh_token } = sandbox.issueTokens('ann');
  const first = await requestToken(sandbox, { refresh_token });
  nowMs = 999;
  const second = await requestToken(sandbox, { refresh_token });
  expect(second.status).toBe(200);
  expect(second.body['refresh_token']).not.toBe(first.body['refresh_token']);
  nowMs = 1_000;
  expect((await requestToken(sandbox, { refresh_token })).body).toEqual({ error: 'invalid_grant' });
});

test('a refresh token ends after its time', async () => {
  let nowMs = 0;
  await using sandbox = await startSandbox({ ...options(), now: () => nowMs, refreshTokenTtlMs: 1_000 });
  const { refresh_token } = sandbox.issueTokens('ann');
  nowMs = 1_000;
  expect((await requestToken(sandbox, { refresh_token })).body).toEqual({ error: 'invalid_grant' });
});

test.each([
  [{ client_secret: 'wrong' }, 401, 'invalid_client'],
  [{ client_id: 'wrong' }, 401, 'invalid_client'],
  [{ grant_type: 'password' }, 400, 'unsupported_grant_type'],
  [{ refresh_token: 'unknown' }, 400, 'invalid_grant'],
  [{}, 400, 'invalid_request'],
])('a token request with %j is refused: %i %s', async (form, status, error) => {
  await using sandbox = await startSandbox(options());
  expect(await requestToken(sandbox, form as Record<string, string>)).toEqual({ status, body: { error } });
});

test('a refused client does not spend the refresh token', async () => {
  await using sandbox = await startSandbox(options());
  const { refresh_token } = sandbox.issueTokens('ann');
  await requestToken(sandbox, { refresh_token, client_secret: 'wrong' });
  expect((await requestToken(sandbox, { refresh_token })).status).toBe(200);
});

test('revoked tokens of one customer leave the others alone', async () => {
  await using sandbox = await startSandbox(options());
  const [ann, bob] = [sandbox.issueTokens('ann'), sandbox.issueTokens('bob')];
  sandbox.tokens.revoke('ann');
  expect((await call(sandbox, ann.access_token, 'GET /assets')).status).toBe(401);
  expect((await requestToken(sandbox, { refresh_token: ann.refresh_token })).status).toBe(400);
  expect((await call(sandbox, bob.access_token, 'GET /assets')).status).toBe(200);
});

test('expired access tokens leave the refresh token good', async () => {
  await using sandbox = await startSandbox(options());
  const { access_token, refresh_token } = sandbox.issueTokens('ann');
  sandbox.tokens.expireAccessTokens('ann');
  expect((await call(sandbox, access_token, 'GET /assets')).status).toBe(401);
  expect((await requestToken(sandbox, { refresh_token })).status).toBe(200);
});

test('another process finds the customers and takes tokens for them', async () => {
  await using sandbox = await startSandbox(options());
  const root = `http://127.0.0.1:${sandbox.port}/sandbox`;
  expect(await (await fetch(`${root}/customers`)).json()).toEqual({ customers: ['ann', 'bob'] });
  const tokens = (await (await fetch(`${root}/tokens/ann`, { method: 'POST' })).json()) as Record<
    string,
    string
  >;
  expect((await call(sandbox, tokens['access_token'] ?? '', 'GET /transactions')).text).toContain('of-ann');
  expect((await fetch(`${root}/tokens/nobody`, { method: 'POST' })).status).toBe(404);
  expect(() => sandbox.issueTokens('nobody')).toThrow('nobody');
});

test('a customer that is gone while its token is good is code 601', async () => {
  const data = createMemoryData();
  data.addCustomer('ann');
  await using sandbox = await startSandbox({ data });
  const { access_token } = sandbox.issueTokens('ann');
  data.removeCustomer('ann');
  const { status, text } = await call(sandbox, access_token, 'GET /transactions');
  expect({ status, code: JSON.parse(text).code }).toEqual({ status: 404, code: 601 });
});
