/** What stands just as it came is not read again; whatever else may have changed is, however little that is. */
import { expect, test } from 'vitest';
import { requestSync } from '../../src/db/customers.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { receiptOf, versionsOf } from '../support/look.ts';
import { fee, position, sends, transaction } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

/** A full sync of alice's, with these settings if they are not the world's. Returns what its receipt counts. */
async function syncFully(world: World, settings: Partial<World['deps']['settings']> = {}) {
  await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
  const deps = { ...world.deps, settings: { ...world.deps.settings, ...settings } };
  const outcome = await runSync(deps, 'alice', new AbortController().signal);
  if (outcome.kind !== 'done') throw new Error(JSON.stringify(outcome));
  const { inserted, updated, unchanged, quarantined } = await receiptOf(world, outcome.runId, 'transactions');
  return { status: outcome.status, inserted, updated, unchanged, quarantined };
}

async function openWith(records: readonly (string | object)[]): Promise<World> {
  const world = await createWorld();
  world.data.add('transactions', 'alice', ...records);
  await world.addCustomer('alice');
  await syncFully(world);
  return world;
}

const rawOf = (world: World, id: string) =>
  world.rows<{ raw: string | null }>(
    'SELECT raw::text AS raw FROM calico.send_transactions WHERE transaction_id = $1',
    [id],
  );

test('another spelling of the same is no change: order of names, spaces, escapes', async () => {
  const world = await openWith([transaction('send', 't1', { note: 'é', more: { a: 1, b: 2 } })]);
  const before = await versionsOf(world, 'alice');
  const { transaction_id, ...rest } = transaction('send', 't1');
  const text = JSON.stringify({ more: { b: 2, a: 1 }, ...rest, transaction_id }, null, 2);
  world.data.replace('transactions', 'alice', 't1', text.replace('{', '{"note":"\\u00e9",'));

  expect(await syncFully(world)).toMatchObject({ updated: 0, unchanged: 1 });
  expect(await versionsOf(world, 'alice')).toEqual(before);
});

test.each([
  ['a field that nobody reads', { note: 'another' }],
  ['a digit of a number that nobody reads', { more: '7.40' }],
  ['a fee', { fees: { items: [fee('2')] } }],
])('%s that changes is an update, and one that changes back is one', async (_what, change) => {
  const text = (fields: object) =>
    JSON.stringify(
      transaction('send', 't1', { note: 'one', more: '7.4', fees: { items: [fee('1')] }, ...fields }),
    );
  const asNumber = (json: string) => json.replace(/"more":"([\d.]+)"/, '"more":$1');
  const world = await openWith([asNumber(text({}))]);
  const before = await rawOf(world, 't1');

  world.data.replace('transactions', 'alice', 't1', asNumber(text(change)));
  expect(await syncFully(world)).toMatchObject({ updated: 1, unchanged: 0 });
  expect(await rawOf(world, 't1')).not.toEqual(before);

  world.data.replace('transactions', 'alice', 't1', asNumber(text({})));
  expect(await syncFully(world)).toMatchObject({ updated: 1, unchanged: 0 });
  expect(await rawOf(world, 't1')).toEqual(before);
});

test('of a page only what changed is written; what is new, what cannot be read and what moved beside it, too', async () => {
  const world = await openWith(sends(60));
  world.data.replace('transactions', 'alice', 't001', transaction('send', 't001', { description: 'said' }));
  world.data.replace('transactions', 'alice', 't002', transaction('receive', 't002'));
  world.data.replace('transactions', 'alice', 't003', transaction('send', 't003', { timestamp: 'once' }));
  world.data.add('transactions', 'alice', transaction('send', 'new'));
  const before = await versionsOf(world, 'alice');

  expect(await syncFully(world)).toMatchObject({ inserted: 1, updated: 2, unchanged: 57, quarantined: 1 });
  const after = new Set(await versionsOf(world, 'alice'));
  expect(before.filter((version) => !after.has(version))).toHaveLength(2);
});

test('a record that stands as it came is a duplicate still where its page has it twice', async () => {
  const world = await openWith([transaction('send', 't1'), transaction('send', 't2')]);
  world.data.add('transactions', 'alice', transaction('send', 't1'));
  expect(await syncFully(world)).toMatchObject({ inserted: 0, updated: 0, unchanged: 2 });
});

test('raw that is wanted from now on comes with the next full sync; none that is kept is another record’s', async () => {
  const world = await openWith(sends(3));
  const kept = await rawOf(world, 't001');
  expect(kept).toEqual([{ raw: expect.stringContaining('"0xt001"') }]);

  expect(await syncFully(world, { keepRaw: false })).toMatchObject({ updated: 0, unchanged: 3 });
  world.data.replace(
    'transactions',
    'alice',
    't001',
    transaction('send', 't001', { note: 'nobody reads it' }),
  );
  expect(await syncFully(world, { keepRaw: false })).toMatchObject({ updated: 1, unchanged: 2 });
  expect(await rawOf(world, 't001')).toEqual([{ raw: null }]);

  expect(await syncFully(world)).toMatchObject({ updated: 1, unchanged: 2 });
  expect(await rawOf(world, 't001')).toEqual([{ raw: expect.stringContaining('"nobody reads it"') }]);
  expect(await syncFully(world)).toMatchObject({ updated: 0, unchanged: 3 });
});

test('so it is with positions', async () => {
  const world = await createWorld();
  world.data.add('assets', 'alice', position('BTC', '1'), position('ETH', '2'));
  await world.addCustomer('alice');
  await syncFully(world, { keepRaw: false });
  const before = await world.rows('SELECT * FROM calico.asset_position_history');
  await syncFully(world);
  expect(
    await world.rows("SELECT FROM calico.asset_positions WHERE raw ->> 'quantity' = quantity::text"),
  ).toHaveLength(2);
  const versions = await versionsOf(world, 'alice');
  await syncFully(world, { keepRaw: false });
  await syncFully(world);
  expect(await versionsOf(world, 'alice')).toEqual(versions);
  expect(await world.rows('SELECT * FROM calico.asset_position_history')).toEqual(before);
});

test('the latest time is told by what stands as it came, too', async () => {
  const world = await openWith(sends(3, (index) => ({ timestamp: Date.UTC(2024, 0, 1 + index) })));
  const watermark = () =>
    world.rows("SELECT watermark::text FROM calico.checkpoints WHERE stream = 'transactions'");
  const before = await watermark();
  await world.rows("UPDATE calico.checkpoints SET watermark = '2023-01-01Z' WHERE stream = 'transactions'");
  await syncFully(world);
  expect(await watermark()).toEqual(before);
});
