/** Promise 9: tokens exist encrypted in one table and in a request's header, and nowhere else. */
import { expect, test } from 'vitest';
import { type Credentials, readCredentials } from '../../src/db/credentials.ts';
import { sends } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

test('whatever goes wrong, no token and no client secret is in Postgres, in a log line or in an outcome', async () => {
  const world = await createWorld({ settings: { pageLimit: 2 } });
  const secrets = new Set([world.sandbox.clientSecret]);
  world.data.add('transactions', 'alice', ...sends(5));
  await world.addCustomer('alice');
  const outcomes: unknown[] = [];
  const syncOnce = async () => {
    await collectTokens(world, secrets);
    await world.makeDue('alice');
    outcomes.push(await world.sync('alice'));
    await collectTokens(world, secrets);
  };

  // Calico that quotes what it was sent: in an error's body, in a body that is no JSON, at the end of what is kept.
  const quoting = (status: number, sent: string, padding = 0) => ({
    status,
    rawBody: `${'.'.repeat(padding)}${sent}`,
  });
  await syncOnce();
  for (const endpoint of ['refreshAssets', 'assets', 'transactions'] as const) {
    for (const status of [500, 200, 418]) {
      const { accessToken } = await tokensOf(world);
      world.sandbox.faults.add({
        endpoint,
        answer: quoting(status, accessToken, status === 418 ? 4_070 : 0),
      });
      await syncOnce();
    }
    for (const answer of [{ status: 401 }, { reset: true }] as const) {
      world.sandbox.faults.add({ endpoint, answer });
      await syncOnce();
    }
  }
  for (const status of [400, 401, 500, 200]) {
    world.sandbox.tokens.expireAccessTokens('alice');
    const { refreshToken } = await tokensOf(world);
    const sent = `refresh_token=${refreshToken}&client_secret=${world.sandbox.clientSecret}`;
    world.sandbox.faults.add({ endpoint: 'token', answer: quoting(status, sent) });
    await syncOnce();
  }
  world.sandbox.tokens.revoke('alice');
  await syncOnce();

  expect(secrets.size).toBeGreaterThan(4);
  expect(outcomes.map((outcome) => (outcome as { kind: string }).kind)).toContain('dead_lettered');
  const written = [await everyTextIn(world), world.logged.join('\n'), JSON.stringify(outcomes)].join('\n');
  expect(written.length).toBeGreaterThan(5_000);
  for (const secret of secrets) expect(whereIs(secret, written), 'a secret was written').toBeNull();
  // Cut short it is one all the same.
  for (const secret of secrets) expect(whereIs(secret.slice(0, 26), written), 'a part of one').toBeNull();
});

function whereIs(secret: string, text: string): string | null {
  const at = text.indexOf(secret);
  return at < 0 ? null : text.slice(Math.max(0, at - 200), at + 100);
}

async function tokensOf({ db, deps }: World): Promise<Credentials> {
  const stored = await db.run((orm) => readCredentials(orm, deps.keys, 'alice'));
  if (!stored) throw new Error('alice has no credentials');
  return stored;
}

async function collectTokens(world: World, secrets: Set<string>): Promise<void> {
  const { accessToken, refreshToken } = await tokensOf(world);
  secrets.add(accessToken).add(refreshToken);
}

/** Every row of every table, as text. */
async function everyTextIn(world: World): Promise<string> {
  const tables = await world.rows<{ name: string }>(
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'calico'",
  );
  const texts = tables.map(({ name }) =>
    world.rows<{ text: string }>(`SELECT to_jsonb(t)::text AS text FROM calico.${name} t`),
  );
  return (await Promise.all(texts))
    .flat()
    .map(({ text }) => text)
    .join('\n');
}
