/** Promise 6: what may mark a row removed, and what may not. Holds are in removals-held.test.ts. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { requestSync } from '../../src/db/customers.ts';
import type { FaultRule } from '../../src/sandbox/faults.ts';
import { replayQuarantined } from '../../src/sync/replay-quarantined.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { dataOf, receiptOf, removalsOf, runsOf, versionsOf } from '../support/look.ts';
import { fee, position, sends, transaction } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

const RECORDS = sends(5, (index) => ({ fees: { items: [fee(`${index}`)] } }));
const POSITIONS = [position('BTC', '1'), position('ETH', '2'), position('SOL', '3')];

/** A world of customers with five transactions in three pages and three positions in two, all of them synced. */
async function createCustomers(ids: readonly string[], ownDatabase = false): Promise<World> {
  const world = await createWorld({ settings: { pageLimit: 2 }, ownDatabase });
  for (const id of ids) {
    world.data.add('transactions', id, ...RECORDS);
    world.data.add('assets', id, ...POSITIONS);
    await world.addCustomer(id);
    await world.syncToEnd(id);
  }
  return world;
}

async function sync(world: World, id: string, mode: 'full' | 'incremental'): Promise<void> {
  await world.db.run((orm) => requestSync(orm, [id], mode, 'manual'));
  await world.makeDue(id);
  await world.syncToEnd(id);
}

function vanish({ data }: World, id: string): void {
  data.remove('assets', id, 'ETH');
  data.remove('transactions', id, 't002');
}

/** What is marked removed of a customer's rows, and what hangs on them. */
async function removedOf(world: World, id: string): Promise<string[]> {
  const rows = await world.rows<{ what: string }>(
    `SELECT asset_symbol AS what FROM calico.asset_positions WHERE customer_id = $1 AND removed_at IS NOT NULL
     UNION ALL SELECT 'history of ' || asset_symbol FROM calico.asset_position_history
       WHERE customer_id = $1 AND valid_to IS NOT NULL
     UNION ALL SELECT transaction_id FROM calico.transactions WHERE customer_id = $1 AND removed_at IS NOT NULL
     UNION ALL SELECT 'fee of ' || transaction_id FROM calico.transaction_fees
       WHERE customer_id = $1 AND removed_at IS NOT NULL ORDER BY 1`,
    [id],
  );
  return rows.map(({ what }) => what);
}

const POSITION = ['ETH', 'history of ETH'];
const BOTH = ['ETH', 'fee of t002', 'history of ETH', 't002'];

/** What the latest run says of removals, of its assets and of its transactions. */
async function saidOfRemovals(world: World, id: string): Promise<(string | null)[]> {
  const { run_id = '' } = (await runsOf(world, id)).at(-1) ?? {};
  const said = [await removalsOf(world, run_id, 'assets'), await removalsOf(world, run_id, 'transactions')];
  return said.map(({ removed, note }) => note ?? `${removed} removed`);
}

/** A full sync whose worker dies without a word after so many pages; another may take over at once. */
async function dieAfterPages(world: World, id: string, pages: number): Promise<void> {
  const deps = { ...world.deps, settings: { ...world.deps.settings, slicePages: 1 } };
  await world.db.run((orm) => requestSync(orm, [id], 'full', 'manual'));
  for (let done = 0; done < pages; done++) {
    await world.makeDue(id);
    await runSync(deps, id, new AbortController().signal);
  }
  await world.rows(
    "UPDATE calico.sync_runs SET status = 'running' WHERE customer_id = $1 AND status = 'waiting'",
    [id],
  );
}

const notLooked = (why: string) => `not looked for removals: ${why}`;
const DOWN = notLooked('a provider was down');
const CARRIED_ON = notLooked('the pass was begun by an earlier run');
const KRAKEN_IS_DOWN = { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] };

type Case = {
  what: string;
  fault?: FaultRule;
  trouble?: (world: World, id: string) => unknown;
  mode?: 'full' | 'incremental';
  /** What the run says of its assets, of its transactions. */
  says: [string, string];
  gone: string[];
};

const CASES: Case[] = [
  { what: 'nothing is amiss', says: ['1 removed', '1 removed'], gone: BOTH },
  {
    what: 'a provider was down on the last page of transactions, after the assets were whole',
    fault: { endpoint: 'transactions', page: 2, answer: KRAKEN_IS_DOWN },
    says: ['1 removed', DOWN],
    gone: POSITION,
  },
  {
    what: 'a provider was down on the first page of transactions',
    fault: { endpoint: 'transactions', answer: KRAKEN_IS_DOWN },
    says: ['1 removed', DOWN],
    gone: POSITION,
  },
  {
    what: 'a provider was down on a page of assets, which come first',
    fault: { endpoint: 'assets', answer: KRAKEN_IS_DOWN },
    says: [DOWN, DOWN],
    gone: [],
  },
  {
    what: 'a provider was down in a refresh',
    fault: { endpoint: 'refreshTransactions', answer: KRAKEN_IS_DOWN },
    says: [DOWN, DOWN],
    gone: [],
  },
  {
    what: 'its worker died between two pages of transactions, and another run carries the pass on',
    trouble: (world, id) => dieAfterPages(world, id, 2),
    says: ['0 removed', CARRIED_ON], // the assets were whole: the run that died has removed one
    gone: POSITION,
  },
  {
    what: 'its worker died when the assets were whole, and another run reads the transactions',
    trouble: (world, id) => dieAfterPages(world, id, 1),
    says: ['0 removed', '1 removed'],
    gone: BOTH,
  },
  {
    what: 'it failed between two pages, and the same run goes on',
    fault: { endpoint: 'transactions', page: 2, answer: { status: 500 } },
    says: ['1 removed', '1 removed'],
    gone: BOTH,
  },
  { what: 'it is incremental', mode: 'incremental', says: ['1 removed', '0 removed'], gone: POSITION },
  {
    what: 'a record cannot be read',
    trouble: ({ data }, id) => {
      data.replace('transactions', id, 't003', (text) => text.replace('"0.5"', '"much"'));
      data.replace('assets', id, 'SOL', position('SOL', 'many'));
    },
    says: [notLooked('records were quarantined'), notLooked('records were quarantined')],
    gone: [],
  },
  {
    what: 'the pages were started over',
    fault: { endpoint: 'transactions', page: 2, answer: { status: 400 } },
    says: ['1 removed', notLooked('the pages were started over')],
    gone: POSITION,
  },
  {
    what: 'the pages ran in a circle, and were started over',
    fault: { endpoint: 'transactions', page: 2, answer: { endlessWalk: true } },
    says: ['1 removed', notLooked('the pages were started over')],
    gone: POSITION,
  },
  {
    what: 'a replay lands a record that Calico no longer has, while the pass is under way',
    trouble: async (world, id) => {
      world.data.add(
        'transactions',
        id,
        transaction('send', 't9', { output: { asset_symbol: 'ETH', amount: 'much' } }),
      );
      await sync(world, id, 'incremental');
      world.data.remove('transactions', id, 't9');
      await dieAfterPages(world, id, 2);
      // It waits, it did not die.
      await world.rows(
        "UPDATE calico.sync_runs SET status = 'waiting' WHERE customer_id = $1 AND status = 'running'",
        [id],
      );
      await world.rows(
        `UPDATE calico.quarantined_records SET raw_text = replace(raw_text, 'much', '1') WHERE customer_id = $1`,
        [id],
      );
      const [replayed] = await Array.fromAsync(replayQuarantined(world.db, { customerId: id }, true));
      expect(replayed).toMatchObject({ landed: true });
    },
    says: ['0 removed', '2 removed'],
    gone: [...BOTH, 't9'],
  },
];

test('what a full pass did not see goes only where the pass proves that it is gone', async () => {
  const world = await createCustomers(CASES.map(({ what }) => what));
  const live = async ({ what: id, fault, trouble, mode = 'full', says, gone }: Case) => {
    vanish(world, id);
    if (fault) world.sandbox.faults.add({ ...fault, customerId: id });
    await trouble?.(world, id);
    await sync(world, id, mode);
    expect({ says: await saidOfRemovals(world, id), gone: await removedOf(world, id) }, id).toEqual({
      says,
      gone,
    });

    world.data.replace('transactions', id, 't003', RECORDS[3] ?? {});
    world.data.replace('assets', id, 'SOL', position('SOL', '3'));
    if (gone !== BOTH) await sync(world, id, 'full');
    expect(await removedOf(world, id), `${id}; after the next whole pass`).toEqual([
      ...new Set([...BOTH, ...gone]),
    ]);
  };
  await Promise.all(CASES.map(live));
});

test('a removal touches the row, its fees and its history, and nothing else, of nobody else', async () => {
  const world = await createCustomers(['alice', 'bob']);
  world.data.remove('transactions', 'bob', 't001');
  const before = { alice: await versionsOf(world, 'alice'), bob: await versionsOf(world, 'bob') };
  const data = await dataOf(world, 'alice');
  vanish(world, 'alice');
  await sync(world, 'alice', 'full');

  const after = { alice: await versionsOf(world, 'alice'), bob: await versionsOf(world, 'bob') };
  expect(after.bob).toEqual(before.bob);
  expect(after.alice.filter((row) => !before.alice.includes(row))).toHaveLength(BOTH.length);
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'succeeded' }, { status: 'succeeded' }]);
  const changed = await world.rows(
    `SELECT t.removed_at BETWEEN r.started_at AND r.finished_at AS in_run, t.last_changed_at = t.removed_at AS changed
     FROM calico.transactions t JOIN calico.sync_runs r ON r.run_id = t.last_run_id WHERE removed_at IS NOT NULL`,
  );
  expect(changed).toEqual([{ in_run: true, changed: true }]);
  await sync(world, 'alice', 'full');
  expect(await versionsOf(world, 'alice'), 'gone once, not again').toEqual(after.alice);
  expect(await saidOfRemovals(world, 'alice')).toEqual(['0 removed', '0 removed']);

  // What reappears is live again, be it by an incremental pass, and counts as updated.
  world.data.add('assets', 'alice', ...POSITIONS.slice(1, 2));
  world.data.add('transactions', 'alice', ...RECORDS.slice(2, 3));
  await sync(world, 'alice', 'incremental');
  const { asset_position_history: history = [], ...rows } = await dataOf(world, 'alice');
  const { asset_position_history: oldHistory = [], ...oldRows } = data;
  expect(rows).toEqual(oldRows);
  expect(history).toHaveLength(oldHistory.length + 1);
  expect(await removedOf(world, 'alice'), 'that it was gone stays').toEqual(['history of ETH']);
  const { run_id = '' } = (await runsOf(world, 'alice')).at(-1) ?? {};
  expect(await receiptOf(world, run_id, 'assets')).toMatchObject({ updated: 1, unchanged: 2 });
  expect(await receiptOf(world, run_id, 'transactions')).toMatchObject({ updated: 1, unchanged: 4 });

  // One that moves to another kind is not gone.
  vanish(world, 'alice');
  const moved = (text: string) => text.replace('"kind":"send"', '"kind":"output_only"');
  world.data.replace('transactions', 'alice', 't001', moved);
  await sync(world, 'alice', 'full');
  expect(await saidOfRemovals(world, 'alice')).toEqual(['1 removed', '1 removed']);
  const live = 'SELECT transaction_id FROM calico.output_only_transactions WHERE removed_at IS NULL';
  expect(await world.rows(live)).toEqual([{ transaction_id: 't001' }]);
});

test('a removal that Postgres refuses takes the end of its pass with it; both come with the next try', async () => {
  const world = await createCustomers(['alice'], true);
  vanish(world, 'alice');
  await world.rows(`CREATE FUNCTION calico.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'refused' USING ERRCODE = '55P03'; END $$`);
  await world.rows(`CREATE TRIGGER refuse BEFORE UPDATE ON calico.transaction_fees
    FOR EACH ROW WHEN (new.removed_at IS NOT NULL) EXECUTE FUNCTION calico.refuse()`);
  await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'retry' });
  expect(await removedOf(world, 'alice')).toEqual(POSITION);
  const underWay = 'SELECT stream FROM calico.checkpoints WHERE pass_run_id IS NOT NULL';
  expect(await world.rows(underWay)).toEqual([{ stream: 'transactions' }]);

  await world.rows('DROP TRIGGER refuse ON calico.transaction_fees');
  await world.makeDue('alice');
  await world.syncToEnd('alice');
  expect(await removedOf(world, 'alice')).toEqual(BOTH);
  expect(await saidOfRemovals(world, 'alice')).toEqual(['1 removed', '1 removed']);
});

test('whatever characters a key has, Postgres knows it among those that were seen', async () => {
  const odd = fc.string({ unit: 'binary', minLength: 1, maxLength: 8 });
  const nasty = [
    '"',
    '\\',
    '\u001f',
    '\u0000',
    '\ud83d',
    '\u007f',
    '\u2028',
    '\b\f\n\r\t',
    '{}',
    ',',
    'NULL',
    '/',
  ];
  const keys = [...new Set([...nasty, ...fc.sample(odd, { numRuns: 200, seed: 6 })])];
  const world = await createWorld();
  world.data.add('assets', 'alice', ...keys.map((key) => position(key, '1', { network: key })));
  world.data.add('transactions', 'alice', ...keys.map((key) => transaction('send', key, { hash: null })));
  await world.addCustomer('alice');
  await world.syncToEnd('alice');
  await sync(world, 'alice', 'full');

  const { run_id = '' } = (await runsOf(world, 'alice')).at(-1) ?? {};
  for (const stream of ['assets', 'transactions'] as const) {
    expect(await receiptOf(world, run_id, stream)).toMatchObject({ unchanged: keys.length, quarantined: 0 });
    expect(await removalsOf(world, run_id, stream)).toEqual({ removed: 0, held: 0, note: null });
  }
});
