/** Tokens: refreshed in time, stored before use, one refresh at a time, nobody condemned who has good ones. */
import { randomBytes } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { openDatabase } from '../../src/db/client.ts';
import { readCredentials, saveCredentials } from '../../src/db/credentials.ts';
import { fingerprintOf } from '../../src/sandbox/server-log.ts';
import { accessToken } from '../../src/sync/access-token.ts';
import { createAlice } from '../support/alice.ts';
import { createGate, nth } from '../support/gate.ts';
import { homesOf, runsOf } from '../support/look.ts';
import { waitFor } from '../support/wait-for.ts';
import type { World } from '../support/world.ts';

const MINUTE_MS = 60_000;

const tokenRequests = (world: World) => world.sandbox.requestsFor({ endpoint: 'token' });

async function storedTokens({ db, deps }: World) {
  const stored = await db.run((orm) => readCredentials(orm, deps.keys, 'alice'));
  if (!stored) throw new Error('alice has no credentials');
  return stored;
}

/** What `customers add` does once the customer has signed in again. */
async function signInAgain({ db, deps, sandbox }: World): Promise<void> {
  const tokens = sandbox.issueTokens('alice');
  await db.transaction(({ orm }) =>
    saveCredentials(orm, deps.keys, 'alice', {
      accessToken: tokens.access_token,
      refreshToken: tokens.refresh_token,
      accessExpiresAt: new Date(deps.now() + tokens.expires_in * 1000),
      refreshExpiresAt: new Date(deps.now() + 365 * 24 * 60 * MINUTE_MS),
    }),
  );
}

test('a token is refreshed a minute before its end, not after it', async () => {
  let now = Date.now();
  const world = await createAlice({ now: () => now });

  now += 13 * MINUTE_MS;
  await world.sync('alice');
  expect(tokenRequests(world)).toEqual([]);

  now += MINUTE_MS + 1; // 14 of its 15 minutes
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });
  expect(tokenRequests(world)).toHaveLength(1);
  expect(world.sandbox.requestsFor({ status: 401 })).toEqual([]);
  expect((await storedTokens(world)).accessExpiresAt.getTime()).toBe(now + 15 * MINUTE_MS);
});

test('a walk that outlives its token goes on with the next one', async () => {
  let now = Date.now();
  const world = await createAlice({
    now: () => now,
    settings: { pageLimit: 1 },
    sandbox: {
      accessTokenTtlMs: 3 * MINUTE_MS,
      onRequest: () => {
        now += MINUTE_MS - 1_000;
      },
    },
  });

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(tokenRequests(world).length).toBeGreaterThan(1);
  expect(world.sandbox.requestsFor({ status: 401 }), 'no page is asked for with a dead token').toEqual([]);
});

test('401: a new token, and the same request again', async () => {
  const world = await createAlice({
    sandbox: {
      onRequest: ({ endpoint, query, customerId }) => {
        const isSecondPage = endpoint === 'transactions' && query['cursor'] !== undefined;
        if (isSecondPage && customerId && spoilOnce()) world.sandbox.tokens.expireAccessTokens('alice');
      },
    },
  });
  const spoilOnce = once();

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });

  const [refused] = world.sandbox.requestsFor({ status: 401 });
  const at = refused ? world.sandbox.requests.indexOf(refused) : -1;
  const [token, again] = world.sandbox.requests.slice(at + 1);
  expect(token?.endpoint).toBe('token');
  expect(again).toMatchObject({ endpoint: refused?.endpoint, query: refused?.query, status: 200 });
  expect(tokenRequests(world)).toHaveLength(1);
  expect(await runsOf(world, 'alice'), 'no try is spent').toMatchObject([{ attempts: 0 }]);
});

test('a token that was refreshed and is refused again is refused for good', async () => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'transactions', times: 2, answer: { status: 401 } });

  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });

  expect(await world.rows('SELECT status FROM calico.customers')).toEqual([{ status: 'reauth_required' }]);
  expect(tokenRequests(world)).toHaveLength(1);
  expect(world.sandbox.requestsFor({ endpoint: 'transactions' })).toHaveLength(2);
});

test('a revoked customer is condemned after one token request, with what Calico said', async () => {
  const world = await createAlice();
  world.sandbox.tokens.revoke('alice');

  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });

  expect(tokenRequests(world)).toHaveLength(1);
  expect(
    await world.rows("SELECT code, fault, evidence ->> 'detail' AS detail FROM calico.dead_letters"),
  ).toEqual([{ code: 603, fault: 'customer', detail: 'the token endpoint answered invalid_grant' }]);
});

test.each([{ status: 500 }, { status: 503 }, { reset: true }, { rawBody: '<html>' }] as const)(
  'a token endpoint in trouble condemns nobody: %j',
  async (answer) => {
    const world = await createAlice();
    world.sandbox.tokens.expireAccessTokens('alice');
    const before = await storedTokens(world);
    world.sandbox.faults.add({ endpoint: 'token', answer });

    expect(await world.sync('alice')).toMatchObject({ kind: 'later' });
    expect(await storedTokens(world)).toEqual(before);
    await world.makeDue('alice');
    expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  },
);

test('our own client credentials refused: retried, never the customer’s fault', async () => {
  const world = await createAlice();
  world.sandbox.tokens.expireAccessTokens('alice');
  world.sandbox.faults.add({
    endpoint: 'token',
    times: 8,
    answer: { status: 401, body: { error: 'invalid_client' } },
  });

  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'dead_lettered' });
  expect(await world.rows('SELECT status FROM calico.customers')).toEqual([{ status: 'active' }]);
});

test('new tokens are in Postgres before the first request that bears them', async () => {
  const gate = createGate(nth(1, 'refreshAssets'));
  let now = Date.now();
  const world = await createAlice({ now: () => now, sandbox: { onRequest: gate.onRequest } });
  now += 20 * MINUTE_MS;
  const outcome = world.sync('alice');

  const { tokenFingerprint } = await gate.arrival;
  expect(fingerprintOf((await storedTokens(world)).accessToken)).toBe(tokenFingerprint);

  gate.open();
  expect(await outcome).toMatchObject({ kind: 'done', status: 'succeeded' });
});

test('ten that need a token at once, in two processes’ pools, make one token request', async () => {
  const world = await createAlice();
  const { accessToken: dead } = await storedTokens(world);
  world.sandbox.tokens.expireAccessTokens('alice');
  const second = openDatabase({ url: world.database.url, maxConnections: 6 });
  const never = new AbortController().signal;

  const tokens = await Promise.all(
    Array.from({ length: 10 }, (_none, index) =>
      accessToken({ ...world.deps, db: index % 2 === 0 ? world.db : second }, 'alice', dead, never),
    ),
  );

  await second.close();
  expect(new Set(tokens.map(({ token }) => token)).size).toBe(1);
  expect(tokens.filter(({ refreshed }) => refreshed)).toHaveLength(1);
  expect(tokenRequests(world)).toHaveLength(1);
});

test.each([
  ['its access token had ended', 20 * MINUTE_MS],
  ['its access token was refused', 0],
])(
  'credentials that come while the old ones are refused are tried, not condemned: %s',
  async (_when, laterMs) => {
    const gate = createGate(({ endpoint }) => endpoint === 'token');
    let now = Date.now();
    const world = await createAlice({ now: () => now, sandbox: { onRequest: gate.onRequest } });
    world.sandbox.tokens.revoke('alice');
    now += laterMs;
    const outcome = world.sync('alice');
    await gate.arrival;

    // Signing in waits for the row that the refresh holds, and gets it before the customer can be condemned.
    const holder = await world.database.pool.connect();
    const signedIn = signInAgain(world);
    await waitFor(() => waiters(world), {
      describe: 'the new credentials to wait for the old',
      until: (n) => n === 1,
    });
    await holder.query('BEGIN');
    await holder.query('SELECT FROM calico.customers FOR UPDATE'); // the condemnation waits here
    gate.open();
    await signedIn;
    await waitFor(() => waiters(world), {
      describe: 'the worker to settle its failure',
      until: (n) => n === 1,
    });
    await holder.query('ROLLBACK');
    holder.release();

    expect(await outcome).toMatchObject({ kind: 'later', why: 'retry' });
    expect(await world.rows('SELECT status FROM calico.customers')).toEqual([{ status: 'active' }]);
    expect(await world.rows('SELECT FROM calico.dead_letters')).toEqual([]);
    expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  },
);

test('a stop while tokens are traded waits for them: the spent one would be the customer’s last', async () => {
  const gate = createGate(nth(1, 'token'));
  let now = Date.now();
  const world = await createAlice({ now: () => now, sandbox: { onRequest: gate.onRequest } });
  now += 20 * MINUTE_MS;
  const stop = new AbortController();
  const outcome = world.sync('alice', stop.signal);
  await gate.arrival;

  stop.abort();
  gate.open();

  expect(await outcome).toMatchObject({ kind: 'stopped' });
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(tokenRequests(world)).toHaveLength(1);
});

test.each([
  ['is done', []],
  ['fails', [{ status: 500 }]],
] as const)(
  'a trade that %s listens no more: who listens to a turn’s signal keeps it for ever',
  async (_how, answers) => {
    const world = await createAlice({ sandbox: { accessTokenTtlMs: MINUTE_MS } });
    for (const answer of answers) world.sandbox.faults.add({ endpoint: 'token', answer });
    const { signal } = new AbortController();

    const trade = accessToken(world.deps, 'alice', null, signal);
    await trade.catch(() => undefined);

    expect(tokenRequests(world)).toHaveLength(1);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  },
);

test('a refresh token that does not rotate stays in force', async () => {
  const world = await createAlice({ sandbox: { rotateRefreshTokens: false } });
  const { refreshToken } = await storedTokens(world);
  for (let round = 0; round < 2; round++) {
    world.sandbox.tokens.expireAccessTokens('alice');
    await world.makeDue('alice');
    expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });
  }
  expect((await storedTokens(world)).refreshToken).toBe(refreshToken);
  expect(tokenRequests(world)).toHaveLength(2);
});

test('tokens that live shorter than a minute are used, not traded at every request', async () => {
  const world = await createAlice({ sandbox: { accessTokenTtlMs: 30_000 } });

  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });
  expect(Object.keys(await homesOf(world, 'alice'))).toHaveLength(5);
  expect(tokenRequests(world).length).toBeLessThanOrEqual(1);
});

test('tokens sealed with a key that is gone stop nothing but their customer, and name no secret', async () => {
  const world = await createAlice();
  const { accessToken: token } = await storedTokens(world);
  world.deps.keys = new Map([['other', randomBytes(32)]]);

  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'dead_lettered' });
  const [letter] = await world.rows<{ text: string }>(
    'SELECT to_jsonb(d)::text AS text FROM calico.dead_letters d',
  );
  expect(letter?.text).toContain('CREDENTIALS_KEYS does not have');
  expect(letter?.text).not.toContain(token);
});

/** Backends of this database that wait for a lock. */
async function waiters(world: World): Promise<number> {
  const rows = await world.rows(
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
  );
  return rows.length;
}

function once(): () => boolean {
  let done = false;
  return () => {
    if (done) return false;
    done = true;
    return true;
  };
}
