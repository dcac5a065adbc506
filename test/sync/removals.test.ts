/** Promise 6: what may mark a row removed, and what may not. Holds are in removals-held.test.ts. */
import { expect, test } from 'vitest';
import { requestSync } from '../../src/db/customers.ts';
import { dataOf, receiptOf, runsOf, versionsOf } from '../support/look.ts';
import { fee, position, sends } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

const KRAKEN_IS_DOWN = { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] };

/** Alice, with five transactions in three pages and three positions in two, all of them synced. */
async function createAlice(): Promise<World> {
  const world = await createWorld({ settings: { pageLimit: 2 } });
  await addCustomer(world, 'alice');
  return world;
}

async function addCustomer(world: World, customerId: string): Promise<void> {
  const fees = (index: number) => ({ fees: { items: [fee(`${index}`)] } });
  world.data.add('transactions', customerId, ...sends(5, fees));
  world.data.add('assets', customerId, position('BTC', '1'), position('ETH', '2'), position('SOL', '3'));
  await world.addCustomer(customerId);
  await world.syncToEnd(customerId);
}

async function sync(world: World, mode: 'full' | 'incremental'): Promise<void> {
  await world.db.run((orm) => requestSync(orm, ['alice'], mode, 'manual'));
  await world.makeDue('alice');
  await world.syncToEnd('alice');
}

function vanish({ data }: World): void {
  data.remove('assets', 'alice', 'ETH');
  data.remove('transactions', 'alice', 't002');
}

/** Symbols and ids of what is marked removed, anybody's. */
async function removedIn(world: World): Promise<string[]> {
  const rows = await world.rows<{ id: string }>(
    `SELECT asset_symbol AS id FROM calico.asset_positions WHERE removed_at IS NOT NULL
     UNION ALL SELECT transaction_id FROM calico.transactions WHERE removed_at IS NOT NULL
     UNION ALL SELECT 'fee of ' || transaction_id FROM calico.transaction_fees WHERE removed_at IS NOT NULL
     UNION ALL SELECT 'history of ' || asset_symbol FROM calico.asset_position_history WHERE valid_to IS NOT NULL
     ORDER BY 1`,
  );
  return rows.map(({ id }) => id);
}

const POSITION = ['ETH', 'history of ETH'];
const BOTH = ['ETH', 'fee of t002', 'history of ETH', 't002'];

/** What the latest run says of removals, of its assets and of its transactions. */
async function saidOfRemovals(world: World): Promise<(string | null)[]> {
  const { run_id = '' } = (await runsOf(world, 'alice')).at(-1) ?? {};
  const receipts = [await receiptOf(world, run_id, 'assets'), await receiptOf(world, run_id, 'transactions')];
  return receipts.map(({ removed, removalNote }) => removalNote ?? `${removed} removed`);
}

/** A full sync whose worker dies without a word after so many pages; another may take over at once. */
async function dieAfterPages({ deps, rows, db, ...world }: World, pages: number): Promise<void> {
  const { slicePages } = deps.settings;
  deps.settings.slicePages = 1;
  await db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
  for (let done = 0; done < pages; done++) {
    await world.makeDue('alice');
    await world.sync('alice');
  }
  await rows("UPDATE calico.sync_runs SET status = 'running' WHERE status = 'waiting'");
  deps.settings.slicePages = slicePages;
}

const notLooked = (why: string) => `not looked for removals: ${why}`;
const DOWN = notLooked('a provider was down');
const CARRIED_ON = notLooked('the pass was begun by an earlier run');

type Trouble = {
  what: string;
  trouble?: (world: World) => unknown;
  mode?: 'incremental';
  /** What the run says of its assets, of its transactions. */
  says: [string, string];
  gone: string[];
};

test.each<Trouble>([
  { what: 'nothing is amiss', says: ['1 removed', '1 removed'], gone: BOTH },
  {
    what: 'a provider was down on the last page of transactions, after the assets were whole',
    trouble: ({ sandbox }) =>
      sandbox.faults.add({ endpoint: 'transactions', page: 2, answer: KRAKEN_IS_DOWN }),
    says: ['1 removed', DOWN],
    gone: POSITION,
  },
  {
    what: 'a provider was down on the first page of transactions',
    trouble: ({ sandbox }) => sandbox.faults.add({ endpoint: 'transactions', answer: KRAKEN_IS_DOWN }),
    says: ['1 removed', DOWN],
    gone: POSITION,
  },
  {
    what: 'a provider was down on a page of assets, which come first',
    trouble: ({ sandbox }) => sandbox.faults.add({ endpoint: 'assets', answer: KRAKEN_IS_DOWN }),
    says: [DOWN, DOWN],
    gone: [],
  },
  {
    what: 'a provider was down in a refresh',
    trouble: ({ sandbox }) => sandbox.faults.add({ endpoint: 'refreshTransactions', answer: KRAKEN_IS_DOWN }),
    says: [DOWN, DOWN],
    gone: [],
  },
  {
    what: 'its worker died between two pages of transactions, and another run carries the pass on',
    trouble: (world) => dieAfterPages(world, 2),
    says: ['0 removed', CARRIED_ON], // the assets were whole: the run that died has removed one
    gone: POSITION,
  },
  {
    what: 'its worker died when the assets were whole, and another run reads the transactions',
    trouble: (world) => dieAfterPages(world, 1),
    says: ['0 removed', '1 removed'],
    gone: BOTH,
  },
  {
    what: 'it failed between two pages, and the same run goes on',
    trouble: ({ sandbox }) =>
      sandbox.faults.add({ endpoint: 'transactions', page: 2, answer: { status: 500 } }),
    says: ['1 removed', '1 removed'],
    gone: BOTH,
  },
  { what: 'it is incremental', mode: 'incremental', says: ['1 removed', '0 removed'], gone: POSITION },
  {
    what: 'a record cannot be read',
    trouble: ({ data }) => {
      data.replace('transactions', 'alice', 't003', (text) => text.replace('"0.5"', '"much"'));
      data.replace('assets', 'alice', 'SOL', position('SOL', 'many'));
    },
    says: [notLooked('records were quarantined'), notLooked('records were quarantined')],
    gone: [],
  },
  {
    what: 'the pages were started over',
    trouble: ({ sandbox }) =>
      sandbox.faults.add({ endpoint: 'transactions', page: 2, answer: { status: 400 } }),
    says: ['1 removed', notLooked('the pages were started over')],
    gone: POSITION,
  },
])('$what: what a pass did not see goes only where it proves that it is gone', async (row) => {
  const world = await createAlice();
  vanish(world);
  await row.trouble?.(world);
  await sync(world, row.mode ?? 'full');
  expect(await saidOfRemovals(world)).toEqual(row.says);
  expect(await removedIn(world)).toEqual(row.gone.toSorted());

  world.sandbox.faults.clear();
  if (row.what === 'a record cannot be read') {
    world.data.replace('transactions', 'alice', 't003', sends(4)[3] ?? {});
    world.data.replace('assets', 'alice', 'SOL', position('SOL', '3'));
  }
  await sync(world, 'full');
  expect(await removedIn(world), 'the next whole pass').toEqual(BOTH);
});

test('a removal touches the row, its fees and its history, and nothing else, of nobody else', async () => {
  const world = await createAlice();
  await addCustomer(world, 'bob');
  world.data.remove('transactions', 'bob', 't001');
  const before = { alice: await versionsOf(world, 'alice'), bob: await versionsOf(world, 'bob') };
  vanish(world);
  await sync(world, 'full');

  const after = { alice: await versionsOf(world, 'alice'), bob: await versionsOf(world, 'bob') };
  expect(after.bob).toEqual(before.bob);
  expect(after.alice.filter((row) => !before.alice.includes(row))).toHaveLength(BOTH.length);
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'succeeded' }, { status: 'succeeded' }]);
  const changed = await world.rows(
    `SELECT t.removed_at = r.finished_at OR t.removed_at BETWEEN r.started_at AND r.finished_at AS in_run,
       t.last_changed_at = t.removed_at AS changed
     FROM calico.transactions t JOIN calico.sync_runs r ON r.run_id = t.last_run_id WHERE removed_at IS NOT NULL`,
  );
  expect(changed).toEqual([{ in_run: true, changed: true }]);

  const versions = await versionsOf(world, 'alice');
  await sync(world, 'full');
  expect(await versionsOf(world, 'alice'), 'gone once, not again').toEqual(versions);
  expect(await saidOfRemovals(world)).toEqual(['0 removed', '0 removed']);
});

test.each(['full', 'incremental'] as const)('what reappears is live again by a %s pass', async (mode) => {
  const world = await createAlice();
  const before = await dataOf(world, 'alice');
  vanish(world);
  await sync(world, 'full');
  world.data.add('assets', 'alice', position('ETH', '2'));
  world.data.add(
    'transactions',
    'alice',
    sends(5, (index) => ({ fees: { items: [fee(`${index}`)] } }))[2] ?? {},
  );
  await sync(world, mode);

  const { asset_position_history: history = [], ...rest } = await dataOf(world, 'alice');
  const { asset_position_history: oldHistory = [], ...old } = before;
  expect(rest).toEqual(old);
  expect(history).toHaveLength(oldHistory.length + 1);
  expect(await removedIn(world), 'the time in which it was gone stays').toEqual(['history of ETH']);
  const { run_id = '' } = (await runsOf(world, 'alice')).at(-1) ?? {};
  expect(await receiptOf(world, run_id, 'assets')).toMatchObject({ updated: 1, unchanged: 2 });
  expect(await receiptOf(world, run_id, 'transactions')).toMatchObject({ updated: 1, unchanged: 4 });
});

test('a transaction that moves to another kind while another goes is not taken for gone', async () => {
  const world = await createAlice();
  vanish(world);
  world.data.replace('transactions', 'alice', 't001', (text) =>
    text.replace('"kind":"send"', '"kind":"output_only"'),
  );
  await sync(world, 'full');
  expect(await removedIn(world)).toEqual(BOTH);
  expect(
    await world.rows('SELECT FROM calico.output_only_transactions WHERE removed_at IS NULL'),
  ).toHaveLength(1);
});

test('a removal that Postgres refuses takes the end of its pass with it; both come with the next try', async () => {
  const world = await createWorld({ ownDatabase: true, settings: { pageLimit: 2 } });
  await addCustomer(world, 'alice');
  vanish(world);
  await world.rows(`CREATE FUNCTION calico.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'refused' USING ERRCODE = '55P03'; END $$`);
  await world.rows(`CREATE TRIGGER refuse BEFORE UPDATE ON calico.transaction_fees
    FOR EACH ROW WHEN (new.removed_at IS NOT NULL) EXECUTE FUNCTION calico.refuse()`);
  await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'retry' });
  expect(await removedIn(world)).toEqual(POSITION);
  expect(
    await world.rows("SELECT FROM calico.checkpoints WHERE stream = 'transactions' AND pass_run_id IS NULL"),
  ).toEqual([]);

  await world.rows('DROP TRIGGER refuse ON calico.transaction_fees');
  await world.makeDue('alice');
  await world.syncToEnd('alice');
  expect(await removedIn(world)).toEqual(BOTH);
  expect(await saidOfRemovals(world)).toEqual(['1 removed', '1 removed']);
});
