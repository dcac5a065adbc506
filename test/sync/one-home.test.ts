/** Promise 7, first half: a transaction is in exactly one of the six tables, and moves when its kind changes. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TRANSACTION_KINDS, type TransactionKind } from '../../src/db/schema.ts';
import { homesOf, runsOf, transactionsWithManyHomes, versionsOf } from '../support/look.ts';
import { fee, transaction } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

const PAIRS = TRANSACTION_KINDS.flatMap((from) =>
  TRANSACTION_KINDS.filter((to) => to !== from).map((to) => ({ from, to, id: `${from} to ${to}` })),
);

test('a transaction moves from any kind to any other, with its fees and since when it is known', async () => {
  const world = await createWorld({ settings: { pageLimit: 7 } });
  const twoFees = { items: [fee('1'), fee('2')] };
  for (const { from, id } of PAIRS) {
    world.data.add('transactions', 'alice', transaction(from, id, { fees: twoFees }));
  }
  await world.addCustomer('alice');
  await world.sync('alice');
  expect(await homesOf(world, 'alice')).toEqual(Object.fromEntries(PAIRS.map(({ id, from }) => [id, from])));
  const since = await firstSeen(world);

  for (const { to, id } of PAIRS) {
    world.data.replace('transactions', 'alice', id, transaction(to, id, { fees: { items: [fee('3')] } }));
  }
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });

  expect(await transactionsWithManyHomes(world)).toEqual([]);
  expect(await homesOf(world, 'alice')).toEqual(Object.fromEntries(PAIRS.map(({ id, to }) => [id, to])));
  expect(await firstSeen(world)).toEqual(since);
  expect(await feesOf(world)).toEqual(
    PAIRS.map(({ id }) => ({ transaction_id: id, amounts: ['3'] })).sort(byId),
  );
  const [first, second] = await runsOf(world, 'alice');
  const changedBy = await world.rows('SELECT DISTINCT last_run_id FROM calico.transactions');
  expect(changedBy).toEqual([{ last_run_id: second?.run_id }]);
  expect(second?.run_id).not.toBe(first?.run_id);
});

test('what moves and what fits no table go their ways in one page', async () => {
  const world = await createWorld();
  world.data.add('transactions', 'alice', transaction('uncategorized', 't1'), transaction('send', 't2'));
  await world.addCustomer('alice');
  await world.sync('alice');

  world.data.replace('transactions', 'alice', 't1', transaction('input_output', 't1'));
  world.data.replace('transactions', 'alice', 't2', transaction('receive', 't2', { input: null }));
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ status: 'partial' });

  // The malformed one keeps the home that it had.
  expect(await homesOf(world, 'alice')).toEqual({ t1: 'input_output', t2: 'send' });
});

test('a second pass over the same records touches no row', async () => {
  const world = await createWorld({ settings: { pageLimit: 7 } });
  for (const { from, id } of PAIRS) {
    world.data.add('transactions', 'alice', transaction(from, id, { fees: { items: [fee('1')] } }));
  }
  world.data.add('assets', 'alice', { provider_id: 'coinbase', asset_symbol: 'BTC', quantity: '7.40' });
  await world.addCustomer('alice');
  await world.sync('alice');
  const before = await versionsOf(world, 'alice');
  expect(before).toHaveLength(2 * PAIRS.length + 2);

  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });

  expect(await versionsOf(world, 'alice')).toEqual(before);
});

test('fields in another order are the same record', async () => {
  const world = await createWorld();
  const record = transaction('send', 't1', { fees: { items: [fee('1')] } });
  world.data.add('transactions', 'alice', record);
  await world.addCustomer('alice');
  await world.sync('alice');
  const before = await versionsOf(world, 'alice');

  world.data.replace('transactions', 'alice', 't1', Object.fromEntries(Object.entries(record).reverse()));
  await world.makeDue('alice');
  await world.sync('alice');

  expect(await versionsOf(world, 'alice')).toEqual(before);
});

test('fees grow, shrink and vanish with their transaction, and nobody else’s do', async () => {
  const world = await createWorld();
  world.data.add(
    'transactions',
    'alice',
    transaction('send', 't1'),
    transaction('send', 't2', { fees: { items: [fee('9')] } }),
  );
  await world.addCustomer('alice');

  for (const amounts of [['1'], ['1', '2', '3'], ['3', '2'], ['4'], []]) {
    world.data.replace(
      'transactions',
      'alice',
      't1',
      transaction('send', 't1', { fees: { items: amounts.map((amount) => fee(amount)) } }),
    );
    await world.makeDue('alice');
    await world.sync('alice');
    expect(await feesOf(world)).toEqual([
      ...(amounts.length > 0 ? [{ transaction_id: 't1', amounts }] : []),
      { transaction_id: 't2', amounts: ['9'] },
    ]);
  }
});

test('whatever happens to it over many passes, a transaction has one home: its latest', async () => {
  const world = await createWorld({ settings: { pageLimit: 3, fullSyncIntervalMs: 0 } });
  const change = fc.record({
    id: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    kind: fc.constantFrom(...TRANSACTION_KINDS),
    fees: fc.nat(2),
  });
  const pass = fc.array(change, { minLength: 1, maxLength: 5 });
  let histories = 0;

  await fc.assert(
    fc.asyncProperty(fc.array(pass, { minLength: 2, maxLength: 3 }), async (passes) => {
      const customerId = `customer-${histories++}`;
      const latest = new Map<string, { kind: TransactionKind; fees: number }>();
      await world.addCustomer(customerId);
      for (const changes of passes) {
        for (const { id, ...now } of changes) {
          latest.set(id, now);
          world.data.remove('transactions', customerId, id);
          const items = Array.from({ length: now.fees }, (_none, index) => fee(`${index}`));
          world.data.add('transactions', customerId, transaction(now.kind, id, { fees: { items } }));
        }
        await world.makeDue(customerId);
        expect(await world.sync(customerId)).toMatchObject({ kind: 'done', status: 'succeeded' });
      }
      expect(await transactionsWithManyHomes(world)).toEqual([]);
      const homes = [...latest].map(([id, { kind }]) => [id, kind] as const);
      expect(await homesOf(world, customerId)).toEqual(Object.fromEntries(homes));
      const withFees = [...latest]
        .filter(([, { fees }]) => fees > 0)
        .map(([id, { fees }]) => [id, fees] as const);
      const fees = (await feesOf(world, customerId)).map(
        ({ transaction_id, amounts }) => [transaction_id, amounts.length] as const,
      );
      expect(fees).toEqual(withFees.sort());
    }),
    { numRuns: 40 },
  );
});

test('what was marked removed and is back is live again, wherever it comes back', async () => {
  const world = await createWorld();
  world.data.add('transactions', 'alice', transaction('send', 'same'), transaction('send', 'moved'));
  await world.addCustomer('alice');
  await world.sync('alice');
  await world.rows('UPDATE calico.send_transactions SET removed_at = now()');

  world.data.replace('transactions', 'alice', 'moved', transaction('receive', 'moved'));
  await world.makeDue('alice');
  await world.sync('alice');

  expect(
    await world.rows(
      'SELECT transaction_id, kind FROM calico.transactions WHERE removed_at IS NULL ORDER BY 1',
    ),
  ).toEqual([
    { transaction_id: 'moved', kind: 'receive' },
    { transaction_id: 'same', kind: 'send' },
  ]);
  expect(await transactionsWithManyHomes(world)).toEqual([]);
});

test('without raw the facts are the same, and nothing is rewritten for it', async () => {
  const world = await createWorld();
  world.data.add('transactions', 'alice', transaction('send', 't1', { fees: { items: [fee('1')] } }));
  await world.addCustomer('alice');
  await world.sync('alice');
  const before = await versionsOf(world, 'alice');
  world.deps.settings = { ...world.deps.settings, keepRaw: false };
  await world.makeDue('alice');
  await world.sync('alice');
  expect(await versionsOf(world, 'alice')).toEqual(before);

  world.data.replace(
    'transactions',
    'alice',
    't1',
    transaction('receive', 't1', { fees: { items: [fee('2')] } }),
  );
  await world.makeDue('alice');
  await world.sync('alice');
  expect(
    await world.rows('SELECT t.raw, f.raw AS fee FROM calico.transactions t, calico.transaction_fees f'),
  ).toEqual([{ raw: null, fee: null }]);
});

async function firstSeen(world: World): Promise<object[]> {
  return world.rows('SELECT transaction_id, first_seen_at::text FROM calico.transactions ORDER BY 1');
}

type Fees = { transaction_id: string; amounts: string[] };

async function feesOf(world: World, customerId = 'alice'): Promise<Fees[]> {
  return world.rows<Fees>(
    `SELECT transaction_id, array_agg(amount::text ORDER BY position) AS amounts
     FROM calico.transaction_fees WHERE customer_id = $1 GROUP BY 1 ORDER BY transaction_id COLLATE "C"`,
    [customerId],
  );
}

const byId = (a: Fees, b: Fees) => (a.transaction_id < b.transaction_id ? -1 : 1);
