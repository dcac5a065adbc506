/** Promise 6: many rows going at once wait for a person. */
import { expect, test } from 'vitest';
import { requestSync } from '../../src/db/customers.ts';
import { approveHold, listHolds, rejectHold } from '../../src/db/held-removals.ts';
import { removalsOf, runsOf } from '../support/look.ts';
import { position, sends } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, type World } from '../support/world.ts';

const RECORDS = sends(300);

/** Alice with so many transactions, all of them synced, `t000` and on. */
async function createAlice(transactions: number): Promise<World> {
  const world = await createWorld();
  await addCustomer(world, 'alice', transactions);
  return world;
}

async function addCustomer(world: World, id: string, transactions: number): Promise<void> {
  world.data.add('transactions', id, ...RECORDS.slice(0, transactions));
  await world.addCustomer(id);
  await world.syncToEnd(id);
}

/** A full sync; what it says of the transactions' removals. */
async function fullSync(world: World, customerId = 'alice'): Promise<object> {
  await world.db.run((orm) => requestSync(orm, [customerId], 'full', 'manual'));
  await world.makeDue(customerId);
  await world.syncToEnd(customerId);
  const run = (await runsOf(world, customerId)).at(-1);
  const { removed, held } = await removalsOf(world, run?.run_id ?? '', 'transactions');
  return { status: run?.status, removed, held };
}

const transactionId = (index: number) => `t${String(index).padStart(3, '0')}`;

function vanish({ data }: World, from: number, to: number, customerId = 'alice'): void {
  for (let index = from; index < to; index++) {
    data.remove('transactions', customerId, transactionId(index));
  }
}

function comeBack({ data }: World, from: number, to: number): void {
  data.add('transactions', 'alice', ...RECORDS.slice(from, to));
}

async function removedIn(world: World, customerId = 'alice'): Promise<string[]> {
  const rows = await world.rows<{ id: string }>(
    `SELECT transaction_id AS id FROM calico.transactions WHERE customer_id = $1 AND removed_at IS NOT NULL
     ORDER BY 1`,
    [customerId],
  );
  return rows.map((row) => row.id);
}

const ids = (from: number, to: number) =>
  Array.from({ length: to - from }, (_none, at) => transactionId(from + at));

async function holdsOf(world: World): Promise<{ state: string; rows: number }[]> {
  const holds = await world.db.run((orm) => listHolds(orm, true));
  return holds.map(({ state, remainingRows }) => ({ state, rows: remainingRows }));
}

async function openHold(world: World): Promise<string> {
  const [hold] = await world.db.run((orm) => listHolds(orm, false));
  return hold?.holdId ?? 'there is none';
}

const approve = (world: World, holdId: string) => world.db.transaction((tx) => approveHold(tx, holdId));
const reject = (world: World, holdId: string) => world.db.transaction((tx) => rejectHold(tx, holdId));

test('what may go unasked: twenty rows, or a tenth of what was live before the pass', async () => {
  const world = await createAlice(0);
  const cases = [
    { live: 60, gone: 20, added: 0, goes: true },
    { live: 60, gone: 21, added: 0, goes: false },
    { live: 200, gone: 21, added: 20, goes: false }, // a tenth of what there was, not of what there is
    { live: 220, gone: 22, added: 0, goes: true },
    { live: 220, gone: 23, added: 0, goes: false },
    { live: 21, gone: 21, added: 0, goes: false },
  ];
  for (const { live, gone, added, goes } of cases) {
    const id = `${gone} of ${live}, ${added} new`;
    await addCustomer(world, id, live);
    vanish(world, 0, gone, id);
    world.data.add('transactions', id, ...RECORDS.slice(live, live + added));
    expect(await fullSync(world, id), id).toEqual(
      goes ? { status: 'succeeded', removed: gone, held: 0 } : { status: 'partial', removed: 0, held: gone },
    );
    expect(await removedIn(world, id), id).toHaveLength(goes ? gone : 0);
    const reason = goes ? null : `${gone} removals held: calico-sync removals list`;
    expect((await runsOf(world, id)).at(-1)?.reason).toBe(reason);
  }
  expect(await holdsOf(world)).toEqual([21, 21, 23, 21].map((rows) => ({ state: 'open', rows })));
});

test('rows that come back with the pass do not raise what may go with it', async () => {
  const world = await createAlice(300);
  vanish(world, 100, 300);
  await fullSync(world);
  await approve(world, await openHold(world));
  comeBack(world, 100, 300);
  vanish(world, 0, 21); // more than a tenth of the hundred that are live; less than a tenth of three hundred
  expect(await fullSync(world)).toEqual({ status: 'partial', removed: 0, held: 21 });
});

test('approving removes exactly what is still missing, and the same rows keep the id of their hold', async () => {
  const world = await createAlice(60);
  vanish(world, 0, 25);
  await fullSync(world);
  const holdId = await openHold(world);
  expect(await fullSync(world)).toEqual({ status: 'partial', removed: 0, held: 25 });
  expect(await openHold(world)).toBe(holdId);

  comeBack(world, 3, 5);
  await world.makeDue('alice');
  await world.syncToEnd('alice'); // incremental: it brings them, and judges nothing
  expect(await holdsOf(world)).toEqual([{ state: 'open', rows: 23 }]);
  expect(await fullSync(world)).toMatchObject({ held: 23 });
  expect(await openHold(world)).toBe(holdId);

  expect(await approve(world, holdId)).toMatchObject({ done: true, rows: 23 });
  expect(await removedIn(world)).toEqual([...ids(0, 3), ...ids(5, 25)]);
  expect(await approve(world, holdId)).toMatchObject({ done: false, state: 'approved' });
  expect(await reject(world, holdId)).toMatchObject({ done: false, state: 'approved' });
  expect(await fullSync(world)).toEqual({ status: 'succeeded', removed: 0, held: 0 });
});

test('a later full pass judges anew: more, fewer or none missing', async () => {
  const world = await createAlice(60);
  vanish(world, 0, 25);
  await fullSync(world);
  const first = await openHold(world);
  vanish(world, 25, 26);
  expect(await fullSync(world)).toMatchObject({ held: 26 });
  expect(await approve(world, first)).toMatchObject({ done: false, state: 'superseded' });
  expect(await removedIn(world)).toEqual([]);

  comeBack(world, 0, 16);
  expect(await fullSync(world), 'ten are few enough').toEqual({ status: 'succeeded', removed: 10, held: 0 });
  vanish(world, 0, 16);
  vanish(world, 26, 40);
  await fullSync(world);
  comeBack(world, 0, 16);
  comeBack(world, 26, 40);
  expect(await fullSync(world)).toEqual({ status: 'succeeded', removed: 0, held: 0 });
  expect(await holdsOf(world)).toEqual(Array(3).fill({ state: 'superseded', rows: 0 }));
  expect(await removedIn(world)).toEqual(ids(16, 26));
  expect(await world.rows('SELECT FROM calico.held_removal_rows')).toEqual([]);
});

test('rejected rows stay and are not asked about again, until they are seen and go anew', async () => {
  const world = await createAlice(60);
  vanish(world, 0, 25);
  await fullSync(world);
  const holdId = await openHold(world);
  expect(await reject(world, holdId)).toMatchObject({ done: true, rows: 25 });
  expect(await reject(world, holdId)).toMatchObject({ done: false, state: 'rejected' });
  expect(await fullSync(world)).toEqual({ status: 'succeeded', removed: 0, held: 0 });

  vanish(world, 30, 31);
  expect(await fullSync(world), 'others are judged by themselves').toMatchObject({ removed: 1, held: 0 });
  comeBack(world, 0, 2);
  await fullSync(world);
  vanish(world, 0, 2);
  expect(await fullSync(world)).toMatchObject({ removed: 2, held: 0 });
  expect(await removedIn(world)).toEqual([...ids(0, 2), transactionId(30)]);

  expect(await approve(world, holdId), 'after all').toMatchObject({
    done: true,
    rows: 23,
    state: 'rejected',
  });
  expect(await removedIn(world)).toEqual([...ids(0, 25), transactionId(30)]);
});

test('a row whose record comes back broken is not missing: it leaves its hold, rejected or not', async () => {
  const world = await createAlice(60);
  vanish(world, 0, 25);
  await fullSync(world);
  const holdId = await openHold(world);
  const broken = (index: number) => ({ ...RECORDS[index], output: { asset_symbol: 'ETH', amount: 'much' } });
  world.data.add('transactions', 'alice', broken(0));
  await fullSync(world);
  expect(await holdsOf(world)).toEqual([{ state: 'open', rows: 24 }]);
  await reject(world, holdId);
  world.data.add('transactions', 'alice', broken(1));
  await world.makeDue('alice');
  await world.syncToEnd('alice');

  expect(await approve(world, holdId)).toMatchObject({ rows: 23 });
  expect(await removedIn(world)).toEqual(ids(2, 25));
});

test('approving while a pass is under way: what its pages bring is live, before or after', async () => {
  const world = await createAlice(60);
  world.deps.settings.pageLimit = 10;
  world.deps.settings.slicePages = 1;
  vanish(world, 0, 21);
  vanish(world, 55, 56);
  await fullSync(world);
  const holdId = await openHold(world);
  comeBack(world, 0, 1); // on the pass's first page
  comeBack(world, 55, 56); // on its last
  await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
  for (const _page of ['assets', 'transactions']) {
    await world.makeDue('alice');
    await world.sync('alice');
  }

  expect(await approve(world, holdId)).toMatchObject({ rows: 21 });
  expect(await removedIn(world)).toEqual([...ids(1, 21), transactionId(55)]);
  await world.makeDue('alice');
  await world.syncToEnd('alice');
  expect(await removedIn(world)).toEqual(ids(1, 21));
  expect(await runsOf(world, 'alice')).toHaveLength(3);
});

test('approving and a page that is being committed wait for each other', async () => {
  const world = await createAlice(60);
  vanish(world, 0, 25);
  await fullSync(world);
  const holdId = await openHold(world);
  const page = await world.database.pool.connect();
  await page.query("BEGIN; SELECT FROM calico.customers WHERE customer_id = 'alice' FOR UPDATE");
  const approving = approve(world, holdId);
  const waiting =
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
  await waitFor(async () => (await world.rows(waiting)).length > 0, { describe: 'approving to wait' });
  await page.query("DELETE FROM calico.held_removal_rows WHERE record_key[2] = 't007'; COMMIT");
  page.release();
  expect(await approving).toMatchObject({ rows: 24 });
  expect(await removedIn(world)).not.toContain('t007');
});

test('a row that changed since it was held stays, whoever changed it', async () => {
  const world = await createAlice(60);
  vanish(world, 0, 25);
  await fullSync(world);
  await world.rows(
    "UPDATE calico.send_transactions SET last_changed_at = now() WHERE transaction_id = 't007'",
  );
  expect(await approve(world, await openHold(world))).toMatchObject({ rows: 24 });
  expect(await removedIn(world)).not.toContain('t007');
});

test('a worker that dies after its pass was held: the next run judges again and says so', async () => {
  const world = await createWorld();
  const positions = Array.from({ length: 30 }, (_none, index) => position(`A${index}`, '1'));
  world.data.add('assets', 'alice', ...positions);
  await world.addCustomer('alice');
  await world.syncToEnd('alice');
  for (let index = 0; index < 25; index++) world.data.remove('assets', 'alice', `A${index}`);
  world.deps.settings.slicePages = 1;
  await world.makeDue('alice');
  await world.sync('alice');
  await world.rows("UPDATE calico.sync_runs SET status = 'running' WHERE status = 'waiting'");
  const holdId = await openHold(world);
  await world.makeDue('alice');
  await world.syncToEnd('alice');

  expect((await runsOf(world, 'alice')).map(({ status }) => status)).toEqual([
    'succeeded',
    'abandoned',
    'partial',
  ]);
  expect(await openHold(world)).toBe(holdId);
  await approve(world, holdId);
  const [left] = await world.rows(`SELECT
    (SELECT count(*)::int FROM calico.asset_positions WHERE removed_at IS NULL) AS live,
    (SELECT count(*)::int FROM calico.asset_position_history WHERE valid_to IS NULL) AS open`);
  expect(left).toEqual({ live: 5, open: 5 });
});

test('a pass that shows no record at all removes none, however few they are', async () => {
  const world = await createAlice(3);
  vanish(world, 0, 3);

  expect(await fullSync(world)).toEqual({ status: 'partial', removed: 0, held: 3 });
  expect(await removedIn(world)).toEqual([]);
  expect(await holdsOf(world)).toEqual([{ state: 'open', rows: 3 }]);

  comeBack(world, 0, 1);
  expect(await fullSync(world), 'one that is there again vouches for the others’ going').toEqual({
    status: 'succeeded',
    removed: 2,
    held: 0,
  });
});
