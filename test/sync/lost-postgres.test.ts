/** Postgres goes away in the middle: nothing is half written, nobody throws, the run goes on when it is back. */
import { expect, test } from 'vitest';
import { openDatabase } from '../../src/db/client.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { createAlice } from '../support/alice.ts';
import { createGate, nth } from '../support/gate.ts';
import { homesOf, receiptOf, runsOf, untilPageLanded, waitingBackends } from '../support/look.ts';
import { sends } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, type World } from '../support/world.ts';

/** A sync that waits for its second page of transactions; the first has landed. */
async function startHeldSync() {
  const gate = createGate(nth(2, 'transactions'));
  const world = await createWorld({ settings: { pageLimit: 2 }, sandbox: { onRequest: gate.onRequest } });
  world.data.add('transactions', 'alice', ...sends(5));
  await world.addCustomer('alice');
  const outcome = world.sync('alice');
  await gate.arrival;
  await untilPageLanded(world, 'alice');
  return { world, outcome, letItGoOn: gate.open };
}

test('a connection that breaks in a commit costs a try, and the page lands once', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  const holder = await world.database.pool.connect();
  await holder.query('BEGIN');
  await holder.query('SELECT FROM calico.checkpoints FOR UPDATE');
  letItGoOn();
  // The page behind, if it has come already, waits for the customer's row.
  const isCommit = ({ query }: { query: string }) => query.includes('UPDATE calico.checkpoints');
  const waiting = await waitFor(() => waitingBackends(world), {
    describe: 'the commit to wait for the checkpoint',
    until: (backends) => backends.some(isCommit),
  });
  await world.rows('SELECT pg_terminate_backend($1)', [waiting.find(isCommit)?.pid]);
  await holder.query('ROLLBACK');
  holder.release();

  expect(await outcome).toMatchObject({ kind: 'later', why: 'retry' });
  expect(Object.keys(await homesOf(world, 'alice'))).toHaveLength(2);
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'waiting', attempts: 1 }]);
  await expectTheRest(world);
});

test('all connections broken between two pages are replaced', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  await world.rows(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'calico-sync'",
  );
  letItGoOn();

  const first = await outcome;
  expect(['done', 'later']).toContain(first.kind);
  if (first.kind === 'later') await expectTheRest(world);
});

test('where there is no Postgres at all a sync says so, and does not throw', async () => {
  const { deps, sandbox } = await createWorld();
  const db = openDatabase({ url: 'postgres://nobody@127.0.0.1:1/none', maxConnections: 1 });

  const outcome = await runSync({ ...deps, db }, 'alice', new AbortController().signal);

  expect(outcome).toMatchObject({
    kind: 'failed',
    runId: null,
    reason: expect.stringContaining('cannot be reached'),
  });
  expect(sandbox.requests).toEqual([]);
  await db.close();
});

test('when Postgres does not take a page the run is tried again, and nothing of the page is there', async () => {
  const world = await createAlice({ ownDatabase: true });
  await world.rows('ALTER TABLE calico.send_transactions RENAME TO send_transactions_away');

  const outcome = await world.sync('alice');

  expect(outcome).toMatchObject({ kind: 'later', why: 'retry', reason: expect.stringContaining('42P01') });
  await world.rows('ALTER TABLE calico.send_transactions_away RENAME TO send_transactions');
  expect(await world.rows('SELECT FROM calico.send_transactions')).toEqual([]);
  await world.makeDue('alice');
  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
});

async function expectTheRest(world: World): Promise<void> {
  await world.makeDue('alice');
  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(Object.keys(await homesOf(world, 'alice'))).toHaveLength(5);
  const [run] = await runsOf(world, 'alice');
  expect(await receiptOf(world, run?.run_id ?? '', 'transactions')).toMatchObject({
    pages: 2 * 3,
    inserted: 5,
    balanced: true,
  });
}
