/** Token refresh: what rotates, what stays, and who is to blame when it is refused. */
import { expect, test } from 'vitest';
import { parseTokensInput, refreshTokens } from '../../src/calico/tokens.ts';
import { createMemoryData } from '../../src/sandbox/data-memory.ts';
import { startSandbox } from '../../src/sandbox/server.ts';
import { clientOf, failureOf, NOW_MS, never, serve, serveAnswer } from './wire.ts';

const oauth = { clientId: 'client', clientSecret: 'secret' };
const OLD_END = new Date(NOW_MS + 1_000);
const old = { refreshToken: 'old-refresh', refreshExpiresAt: OLD_END };
const refreshAt = (url: string) => refreshTokens(clientOf(url), oauth, old, NOW_MS, never);
const inSeconds = (seconds: number) => new Date(NOW_MS + seconds * 1_000);
const YEAR_S = 365 * 24 * 60 * 60;

test('a rotating refresh token is replaced, and the spent one is refused as the customer’s', async () => {
  const data = createMemoryData();
  data.addCustomer('alice');
  await using sandbox = await startSandbox({ data });
  const client = clientOf(`http://127.0.0.1:${sandbox.port}`);
  const owned = { clientId: sandbox.clientId, clientSecret: sandbox.clientSecret };
  const first = { refreshToken: sandbox.issueTokens('alice').refresh_token, refreshExpiresAt: OLD_END };
  const second = await refreshTokens(client, owned, first, NOW_MS, never);
  expect(second.refreshToken).not.toBe(first.refreshToken);
  expect(second).toMatchObject({ accessExpiresAt: inSeconds(900), refreshExpiresAt: inSeconds(YEAR_S) });
  expect(sandbox.tokens.customerOfAccess(second.accessToken)).toBe('alice');

  const refused = await failureOf(refreshTokens(client, owned, first, NOW_MS, never));
  expect(refused).toMatchObject({ kind: 'refused', code: 603, endpoint: 'token' });
  const wrongClient = { ...owned, clientSecret: 'guessed' };
  const ours = await failureOf(refreshTokens(client, wrongClient, second, NOW_MS, never));
  expect(ours).toMatchObject({ kind: 'refused' });
  expect(ours.code).not.toBe(603);
});

test('the form is that of RFC 6749, and no bearer goes with it', async () => {
  const seen: { body: string; authorization: string | undefined; type: string | undefined }[] = [];
  const url = await serve(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    seen.push({ body, authorization: request.headers.authorization, type: request.headers['content-type'] });
    response.end('{"access_token":"a","expires_in":1}');
  });
  await refreshTokens(clientOf(url), { clientId: 'i d', clientSecret: 's&' }, old, NOW_MS, never);
  expect(seen).toEqual([
    {
      body: 'grant_type=refresh_token&refresh_token=old-refresh&client_id=i+d&client_secret=s%26',
      authorization: undefined,
      type: expect.stringContaining('application/x-www-form-urlencoded'),
    },
  ]);
});

test.each(['', ',"refresh_token":null', ',"refresh_token":""'])(
  'an answer with%s no refresh token keeps the old one, with its end',
  async (rest) => {
    const tokens = await refreshAt(await serveAnswer(`{"access_token":"new","expires_in":900${rest}}`));
    expect(tokens).toEqual({
      accessToken: 'new',
      refreshToken: 'old-refresh',
      accessExpiresAt: inSeconds(900),
      refreshExpiresAt: OLD_END,
    });
  },
);

test.each([
  ['a lifetime of its own', '"expires_in":60,"refresh_token_expires_in":120', 60, 120],
  ['lifetimes as text', '"expires_in":"60","refresh_token_expires_in":"120"', 60, 120],
  ['a fraction', '"expires_in":60.5', 60.5, YEAR_S],
  ['none', '"token_type":"Bearer"', 900, YEAR_S],
  ['null', '"expires_in":null,"refresh_token_expires_in":null', 900, YEAR_S],
  ['nonsense', '"expires_in":"soon","refresh_token_expires_in":[]', 900, YEAR_S],
  ['zero and less', '"expires_in":0,"refresh_token_expires_in":-1', 900, YEAR_S],
  ['more than a Date holds', '"expires_in":1e300,"refresh_token_expires_in":1e99', 10 * YEAR_S, 10 * YEAR_S],
])('rotated tokens are never lost for a lifetime that is %s', async (_what, lifetimes, access, refresh) => {
  const tokens = await refreshAt(await serveAnswer(`{"access_token":"a","refresh_token":"r",${lifetimes}}`));
  expect(tokens).toEqual({
    accessToken: 'a',
    refreshToken: 'r',
    accessExpiresAt: inSeconds(access),
    refreshExpiresAt: inSeconds(refresh),
  });
});

test.each([400, 401, 403])('invalid_grant under HTTP %i counts as 603', async (status) => {
  const body = '{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}';
  const failure = await failureOf(refreshAt(await serveAnswer(body, status)));
  expect(failure).toMatchObject({ kind: 'refused', code: 603, httpStatus: status, body });
});

test.each(['invalid_client', 'unauthorized_client'])('%s is ours, whatever the status', async (error) => {
  for (const status of [400, 401, 403]) {
    const failure = await failureOf(refreshAt(await serveAnswer(JSON.stringify({ error }), status)));
    expect(failure).toMatchObject({ kind: 'refused', code: 401, httpStatus: status });
  }
});

test.each([
  ['invalid_request', '{"error":"invalid_request"}'],
  ['invalid_grant in other words', '{"error":"INVALID_GRANT"}'],
  ['invalid_grant elsewhere', '{"error":"server_error","error_description":"invalid_grant"}'],
  ['an object', '{"error":{"code":"invalid_grant"}}'],
  ['no JSON', 'invalid_grant'],
  ['nothing', ''],
])('%s condemns no customer', async (_what, body) => {
  for (const status of [400, 401, 500]) {
    const failure = await failureOf(refreshAt(await serveAnswer(body, status)));
    expect(failure).toMatchObject({ kind: 'refused', code: status });
  }
});

test('an answer without an access token is unreadable', async () => {
  const failure = await failureOf(refreshAt(await serveAnswer('{"refresh_token":"r","expires_in":900}')));
  expect(failure).toMatchObject({ kind: 'unreadable', endpoint: 'token' });
});

test('tokens on stdin', () => {
  expect(
    parseTokensInput('{"access_token":"a","refresh_token":"r","expires_in":900,"scope":"x"}\n', NOW_MS),
  ).toEqual({
    accessToken: 'a',
    refreshToken: 'r',
    accessExpiresAt: inSeconds(900),
    refreshExpiresAt: inSeconds(YEAR_S),
  });
});

const TOKEN = 'tok-5ecret-en';
test.each([
  ['', 'nothing came on stdin'],
  [' \n', 'nothing came on stdin'],
  [TOKEN, 'what came on stdin is not JSON'],
  [`{"access_token":"${TOKEN}"`, 'what came on stdin is not JSON'],
  [`"${TOKEN}"`, 'no JSON object'],
  [`["${TOKEN}"]`, 'no JSON object'],
  [`{"access_token":["${TOKEN}"],"refresh_token":"${TOKEN}","expires_in":900}`, 'access_token'],
  [`{"access_token":"${TOKEN}","expires_in":900}`, 'refresh_token'],
  [`{"access_token":"${TOKEN}","refresh_token":"","expires_in":900}`, 'refresh_token'],
  [`{"access_token":"${TOKEN}","refresh_token":"${TOKEN}"}`, 'expires_in'],
  [`{"access_token":"${TOKEN}","refresh_token":"${TOKEN}","expires_in":"${TOKEN}"}`, 'expires_in'],
  [`{"access_token":"${TOKEN}","refresh_token":"${TOKEN}","expires_in":-1}`, 'expires_in'],
  [`{"access_token":"${TOKEN}","refresh_token":"${TOKEN}","expires_in":{"${TOKEN}":1}}`, 'expires_in'],
])('what is wrong with stdin is said without a token: %s', (text, words) => {
  const result = parseTokensInput(text, NOW_MS);
  const problem = 'problem' in result ? result.problem : '';
  expect(problem).toContain(words);
  expect(problem).not.toContain(TOKEN);
  expect(problem).not.toContain('\n');
});
