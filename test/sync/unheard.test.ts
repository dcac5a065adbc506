/** A worker that lives while Postgres is gone: it could not say how its turn ended, and is not taken for dead. */
import { expect, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/db/client.ts';
import type { SandboxRequest } from '../../src/sandbox/server-log.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { createAlice } from '../support/alice.ts';
import { type BreakableLink, openBreakableLink } from '../support/breakable-link.ts';
import { createGate, type Gate, nth } from '../support/gate.ts';
import { deadLettersOf, runsOf } from '../support/look.ts';
import type { World } from '../support/world.ts';

/** Alice in a process whose way to Postgres breaks at each request for a page of transactions, until `mend`. */
async function createLosing() {
  let link: BreakableLink | null = null;
  let gate: Gate | null = null;
  const onRequest = async (request: SandboxRequest) => {
    if (request.endpoint === 'transactions') link?.cut();
    await gate?.onRequest(request);
  };
  const world = await createAlice({ sandbox: { onRequest } });
  const opened = await openBreakableLink(world.database.url, 5432);
  link = opened;
  const db = openDatabase({ url: opened.url, maxConnections: 3 });
  onTestFinished(async () => {
    await db.close();
    await opened.close();
  });
  const deps = { ...world.deps, db, unheard: new Set<never>() };
  const turnOf = (customerId: string) => runSync(deps, customerId, new AbortController().signal);
  const turn = async ({ expire = true } = {}) => {
    opened.heal();
    if (expire) await world.expireLease('alice');
    return turnOf('alice');
  };
  const mend = () => {
    link = null;
    opened.heal();
  };
  const holdAt = (isHeld: Parameters<typeof createGate>[0]) => {
    gate = createGate(isHeld);
    return gate;
  };
  return { world, unheard: deps.unheard, turn, turnOf, mend, holdAt };
}

const historyOf = async (world: World) =>
  (await runsOf(world, 'alice')).map(({ status, attempts }) => `${status} ${attempts}`);

test('turns whose ends Postgres never heard of are tries of one run, and no deaths', async () => {
  const { world, unheard, turn, mend } = await createLosing();
  for (let loss = 1; loss <= 6; loss++) expect(await turn()).toMatchObject({ kind: 'failed' });
  expect(await historyOf(world), 'the sixth is yet to be told').toEqual(['running 5']);

  mend();
  expect(await turn()).toMatchObject({ kind: 'done', status: 'succeeded' });

  expect(await historyOf(world)).toEqual(['succeeded 0']);
  expect(unheard.size, 'said once').toBe(0);
  expect(await deadLettersOf(world, 'alice')).toEqual([]);
});

test('a customer at whose page Postgres goes away again and again is a dead letter in the end', async () => {
  const { world, turn } = await createLosing();
  for (let loss = 1; loss <= 8; loss++) expect(await turn()).toMatchObject({ kind: 'failed' });

  expect(await turn()).toMatchObject({ kind: 'dead_lettered' });

  expect(await deadLettersOf(world, 'alice')).toMatchObject([
    {
      cause: 'database',
      reason: 'Postgres failed 8 tries in a row before a page of this customer had landed',
      evidence: { losses: 8, nextStep: expect.stringContaining('Postgres') },
    },
  ]);
});

test('a run that another process has taken over was no death either, once its worker can say so', async () => {
  const { world, turn, mend } = await createLosing();
  expect(await turn()).toMatchObject({ kind: 'failed' });
  await world.expireLease('alice');
  expect(await world.sync('alice'), 'the other process').toMatchObject({ kind: 'done' });
  expect(await historyOf(world)).toEqual(['abandoned 0', 'succeeded 0']);

  mend();
  expect(await turn()).toMatchObject({ kind: 'not_run' });
  expect(await historyOf(world)).toEqual(['fenced 0', 'succeeded 0']);
});

test('a word that is said twice, for its answer was lost, does not touch who goes on with the run', async () => {
  const { world, turn, mend, holdAt } = await createLosing();
  expect(await turn()).toMatchObject({ kind: 'failed' });
  await world.rows(`UPDATE calico.sync_runs SET status = 'waiting'`); // the word came
  await world.expireLease('alice');
  mend();
  const gate = holdAt(nth(1, 'transactions'));
  const other = world.sync('alice');
  await gate.arrival;

  expect(await turn({ expire: false })).toMatchObject({ kind: 'not_run' });

  gate.open();
  expect(await other).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(await historyOf(world)).toEqual(['succeeded 0']);
});

// A statement's own limit is a minute.
test('what Postgres does not take of one customer’s run keeps no other', { timeout: 30_000 }, async () => {
  const { world, unheard, turn, turnOf, mend } = await createLosing();
  await world.addCustomer('bob');
  expect(await turn()).toMatchObject({ kind: 'failed' });
  mend();
  // As the session of the turn that was cut off may, until Postgres has missed it.
  const holder = await world.database.pool.connect();
  await holder.query('BEGIN');
  await holder.query('SELECT FROM calico.sync_runs FOR UPDATE');

  expect(await turnOf('bob')).toMatchObject({ kind: 'done' });
  expect(unheard.size).toBe(1);

  await holder.query('ROLLBACK');
  holder.release();
  expect(await turn()).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(unheard.size).toBe(0);
});
