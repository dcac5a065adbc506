/** Promise 9 where failures are born: no secret that a server echoes is in a message, a field or the evidence. */
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import type { CalicoError } from '../../src/calico/errors.ts';
import { createRedactor } from '../../src/calico/redact.ts';
import { refreshTokens } from '../../src/calico/tokens.ts';
import { clientOf, errorOf, NOW_MS, never, serve, serveAnswer } from './wire.ts';

/** With all that URLs, JSON and HTML write otherwise. */
const BEARER = 'eyJh+bGci/OiJ=.IUzI1NiJ9~"q&<x>\'_-';
const REFRESH = 'v1.refresh/+token==&"<secret>';
const CLIENT_SECRET = 'client+secret/of=ours&"';

const html = (text: string) =>
  text.replace(/[&<>"'/+=]/g, (character) => `&#x${character.charCodeAt(0).toString(16).toUpperCase()};`);
const named = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
const form = (text: string) => new URLSearchParams({ '': text }).toString().slice(1);
const SPELLINGS: Record<string, (text: string) => string> = {
  'as it is': (text) => text,
  'in a URL': encodeURIComponent,
  'in a URL, in lower case': (text) => encodeURIComponent(text).replace(/%../g, (byte) => byte.toLowerCase()),
  'in a form': form,
  'in JSON': (text) => JSON.stringify(text).slice(1, -1),
  'in PHP’s JSON': (text) => JSON.stringify(text).slice(1, -1).replaceAll('/', '\\/'),
  'in JSON that is safe in HTML': (text) =>
    JSON.stringify(text)
      .slice(1, -1)
      .replace(/[<>&'=+]/g, (character) => `\\u00${character.charCodeAt(0).toString(16).toUpperCase()}`),
  'in HTML': named,
  'in HTML by numbers': html,
};

/** Everything that may be logged or kept of an error. */
const everything = (error: CalicoError) =>
  [error.message, error.stack, String(error.cause), ...Object.values(error.failure)].map(String).join('\n');

function expectNoSecret(text: string, secrets: readonly string[]): void {
  const leaked = secrets.flatMap((secret) =>
    Object.entries(SPELLINGS).filter(([, spell]) => text.includes(spell(secret))),
  );
  expect(leaked.map(([name]) => name)).toEqual([]);
}

const bearerRequest = { endpoint: 'assets', bearer: BEARER, signal: never } as const;

test.each(Object.entries(SPELLINGS))('the bearer, echoed %s in body and headers', async (_how, spell) => {
  const echo = spell(BEARER);
  const headers = { 'x-request-id': echo, 'retry-after': echo };
  for (const [body, status] of [
    [`{"code":500,"message":"${echo}"}`, 500],
    [`not JSON: ${echo}${echo}`, 200],
    [echo, 603],
  ] as const) {
    const error = await errorOf(clientOf(await serveAnswer(body, status, headers)).send(bearerRequest));
    expectNoSecret(everything(error), [BEARER]);
    expect(error.failure.body).toContain('[secret]');
    expect(error.failure.requestId).toBe('[secret]');
  }
});

test('the bearer, sent back as a cursor, is not in the request that is told', async () => {
  const query = { cursor: BEARER, start_time: '0' };
  const error = await errorOf(clientOf(await serveAnswer('{}', 400)).send({ ...bearerRequest, query }));
  expectNoSecret(everything(error), [BEARER]);
  expect(error.failure.request).toBe('GET /platform/v2/assets?cursor=[secret]&start_time=0');
});

test('a secret that the end of the evidence divides leaves no part behind', async () => {
  const secret = 'abcdefghijklmnopqrstuvwxyz0123456789';
  for (const before of [4_090, 4_095, 4_096, 4_096 - secret.length]) {
    for (const text of ['x'.repeat(before) + secret.repeat(10), 'é'.repeat(before / 2) + secret.repeat(10)]) {
      const url = await serveAnswer(text, 500);
      const { failure } = await errorOf(
        clientOf(url).send({ endpoint: 'assets', bearer: secret, signal: never }),
      );
      expect(failure.body).not.toContain('abc');
    }
  }
  const url = await serveAnswer(secret.repeat(1_000), 500);
  const { failure } = await errorOf(
    clientOf(url).send({ endpoint: 'assets', bearer: secret, signal: never }),
  );
  expect(failure.body).toMatch(/^(\[secret\])+$/);
});

test('of two secrets the longer one goes first', () => {
  expect(createRedactor(['abc', 'abcdef', '']).redact('abcdef abc')).toBe('[secret] [secret]');
  expect(createRedactor(['', '']).redact('anything')).toBe('anything');
});

test('a bearer that no header can hold is not in the error that says so', async () => {
  for (const bearer of ['line\nbreak-of-a-bearer', 'snow☃-man-of-a-bearer']) {
    const error = await errorOf(
      clientOf('http://127.0.0.1:9').send({ endpoint: 'assets', bearer, signal: never }),
    );
    expect(everything(error)).not.toContain('of-a-bearer');
  }
});

const oauth = { clientId: 'client', clientSecret: CLIENT_SECRET };
const old = { refreshToken: REFRESH, refreshExpiresAt: new Date(NOW_MS) };

async function tokenErrorAt(respond: (response: ServerResponse) => void): Promise<CalicoError> {
  const url = await serve((_request, response) => respond(response));
  return errorOf(refreshTokens(clientOf(url), oauth, old, NOW_MS, never));
}

test.each(Object.entries(SPELLINGS))('refresh token and client secret, echoed %s', async (_how, spell) => {
  const echo = `${spell(REFRESH)} and ${spell(CLIENT_SECRET)}`;
  for (const status of [302, 400, 401, 500, 603]) {
    const error = await tokenErrorAt((response) =>
      response.writeHead(status, { 'x-request-id': echo }).end(`{"error":"${echo}"}`),
    );
    expectNoSecret(everything(error), [REFRESH, CLIENT_SECRET]);
    expect(error.failure).toMatchObject({ request: 'POST /oauth/token', requestId: '[secret] and [secret]' });
  }
});

test.each([
  ['without an access token', '{"refresh_token":"brand-new"}'],
  ['cut short', '{"access_token":"brand-new","refre'],
  ['with a code', '{"code":500,"access_token":"brand-new"}'],
  ['of another type', '{"access_token":["brand-new"],"expires_in":900}'],
])('a token answer %s is no evidence: its tokens are nobody’s to see', async (_what, body) => {
  const error = await tokenErrorAt((response) => response.writeHead(200).end(body));
  expect(error.failure.body).toBeNull();
  expect(everything(error)).not.toContain('brand-new');
});
