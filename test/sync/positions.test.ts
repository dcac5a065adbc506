/** Positions: what is held now, every state before it, and one row a key. */
import { expect, test } from 'vitest';
import { runsOf } from '../support/look.ts';
import { EPOCH_MS, position } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

const value = (amount: string) => ({ amount, currency: 'USD' });

/** Pass by pass, what Calico says of one position. */
async function syncThrough(...states: object[]): Promise<World> {
  const world = await createWorld();
  await world.addCustomer('alice');
  for (const state of states) {
    world.data.remove('assets', 'alice', 'BTC');
    world.data.add('assets', 'alice', state);
    await world.makeDue('alice');
    await world.sync('alice');
  }
  return world;
}

type State = { quantity: string; value: string | null; open: boolean; follows: boolean | null };

/** The states of the one position, with whether each begins where the one before it ends. */
async function historyOf(world: World): Promise<State[]> {
  return world.rows<State>(
    `SELECT quantity::text, value_amount::text AS value, valid_to IS NULL AS open,
       valid_from = lag(valid_to) OVER (ORDER BY valid_from) AS follows
     FROM calico.asset_position_history ORDER BY valid_from`,
  );
}

test('each new state ends the one before it in the instant in which it begins', async () => {
  const world = await syncThrough(
    position('BTC', '1'),
    position('BTC', '2'),
    position('BTC', '2', { value: value('10') }),
    position('BTC', '1', { value: value('10') }),
  );

  expect(await historyOf(world)).toEqual([
    { quantity: '1', value: null, open: false, follows: null },
    { quantity: '2', value: null, open: false, follows: true },
    { quantity: '2', value: '10', open: false, follows: true },
    { quantity: '1', value: '10', open: true, follows: true },
  ]);
  expect(await world.rows('SELECT quantity::text FROM calico.asset_positions')).toEqual([{ quantity: '1' }]);
});

test('a new as_of alone moves the position and makes no history', async () => {
  const world = await syncThrough(position('BTC', '1'), position('BTC', '1', { as_of: EPOCH_MS + 1_000 }));

  expect(await historyOf(world)).toMatchObject([{ open: true }]);
  const [current] = await world.rows<{ as_of: Date }>('SELECT as_of FROM calico.asset_positions');
  expect(current?.as_of.getTime()).toBe(EPOCH_MS + 1_000);
});

test('the same number written otherwise is no new state', async () => {
  const world = await syncThrough(position('BTC', '7.4'), position('BTC', '7.40'), position('BTC', '74e-1'));

  expect(await historyOf(world)).toHaveLength(1);
});

test('a currency alone is a new state', async () => {
  const world = await syncThrough(
    position('BTC', '1', { value: value('10') }),
    position('BTC', '1', { value: { amount: '10', currency: 'EUR' } }),
  );
  expect(await historyOf(world)).toHaveLength(2);
});

test('a position that lost its value is in a new state, without one', async () => {
  const world = await syncThrough(
    position('BTC', '1', { value: value('10') }),
    position('BTC', '1', { value: null }),
  );
  expect(await historyOf(world)).toMatchObject([
    { value: '10', open: false },
    { value: null, open: true },
  ]);
});

test('a position that was marked removed and is back begins a state of its own', async () => {
  const world = await syncThrough(position('BTC', '1'));
  await world.rows('UPDATE calico.asset_positions SET removed_at = now()');
  await world.rows('UPDATE calico.asset_position_history SET valid_to = now()');
  await world.makeDue('alice');
  await world.sync('alice');

  expect(await world.rows('SELECT removed_at FROM calico.asset_positions')).toEqual([{ removed_at: null }]);
  expect((await historyOf(world)).map(({ open }) => open)).toEqual([false, true]);
});

test('absent parts of a key are empty, and tell positions apart', async () => {
  const world = await createWorld();
  const bare = { provider_id: 'coinbase', asset_symbol: 'BTC' };
  world.data.add(
    'assets',
    'alice',
    { ...bare, quantity: '1' },
    { ...bare, quantity: '2', account_id: 'a' },
    { ...bare, quantity: '3', network: 'a' },
    { ...bare, quantity: '4', contract_address: 'a' },
    { ...bare, quantity: '5', account_id: 'a', network: 'a', contract_address: 'a' },
  );
  await world.addCustomer('alice');
  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });

  expect(
    await world.rows(
      'SELECT account_id, network, contract_address, quantity::int FROM calico.asset_positions ORDER BY quantity',
    ),
  ).toEqual([
    { account_id: '', network: '', contract_address: '', quantity: 1 },
    { account_id: 'a', network: '', contract_address: '', quantity: 2 },
    { account_id: '', network: 'a', contract_address: '', quantity: 3 },
    { account_id: '', network: '', contract_address: 'a', quantity: 4 },
    { account_id: 'a', network: 'a', contract_address: 'a', quantity: 5 },
  ]);
  expect(await world.rows('SELECT FROM calico.asset_position_history')).toHaveLength(5);

  // null and missing are one.
  world.data.replace('assets', 'alice', 'BTC', (text) => ({ network: null, ...JSON.parse(text) }));
  await world.makeDue('alice');
  await world.sync('alice');
  expect(await world.rows('SELECT FROM calico.asset_positions')).toHaveLength(5);
});

test.each([
  ['in the same page', 100],
  ['in a later page of the same pass', 1],
])('one key with two quantities %s: the second is refused, the first stands', async (_where, pageLimit) => {
  const world = await createWorld({ settings: { pageLimit } });
  world.data.add('assets', 'alice', position('BTC', '1'), position('BTC', '2'));
  await world.addCustomer('alice');

  expect(await world.sync('alice')).toMatchObject({ status: 'partial' });

  expect(await historyOf(world)).toEqual([{ quantity: '1', value: null, open: true, follows: null }]);
  expect(await world.rows('SELECT raw_text FROM calico.quarantined_records')).toEqual([
    { raw_text: JSON.stringify(position('BTC', '2')) },
  ]);
});

test.each([
  ['in the same page', 100],
  ['in a later page of the same pass', 1],
])('one key with one quantity in two spellings %s is one position, told twice', async (_where, pageLimit) => {
  const world = await createWorld({ settings: { pageLimit } });
  world.data.add('assets', 'alice', position('BTC', '7.4'), position('BTC', '7.40'));
  await world.addCustomer('alice');

  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });
  expect(await historyOf(world)).toHaveLength(1);
});

test('positions of a run that died long ago are read anew, not carried on', async () => {
  const world = await createWorld({ settings: { pageLimit: 1, slicePages: 1, syncIntervalMs: 60_000 } });
  world.data.add('assets', 'alice', position('A', '1'), position('B', '1'), position('C', '1'));
  await world.addCustomer('alice');
  await world.sync('alice');
  await world.rows("UPDATE calico.sync_runs SET status = 'running'"); // as one whose worker died
  await world.rows("UPDATE calico.checkpoints SET pass_started_at = now() - interval '2 minutes'");

  world.data.replace('assets', 'alice', 'A', position('A', '2'));
  await world.syncToEnd('alice');

  expect((await runsOf(world, 'alice')).map(({ status }) => status)).toEqual(['abandoned', 'succeeded']);
  expect(
    await world.rows('SELECT asset_symbol, quantity::int FROM calico.asset_positions ORDER BY 1'),
  ).toEqual([
    { asset_symbol: 'A', quantity: 2 },
    { asset_symbol: 'B', quantity: 1 },
    { asset_symbol: 'C', quantity: 1 },
  ]);
});
