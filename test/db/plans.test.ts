/**
 * By which plans Postgres runs the worker's statements and the analysts' usual questions where it has 10,000,000 rows in
 * each table: by an index wherever one customer is named. No clock, and no rows but a few: what it believes decides.
 */
import { expect, onTestFinished, test } from 'vitest';
import { type Database, openDatabase } from '../../src/db/client.ts';
import { isAnyoneDue, listDueCustomers, requestSync } from '../../src/db/customers.ts';
import { announceExpiring } from '../../src/db/expiring.ts';
import { openOutbox } from '../../src/db/outbox.ts';
import { listQuarantined, nextUnresolved, standingRow } from '../../src/db/quarantine.ts';
import { listRuns, readReceipts } from '../../src/db/runs.ts';
import { TRANSACTION_KINDS } from '../../src/db/schema.ts';
import { readOpenItems } from '../../src/db/situation.ts';
import { createFleet } from '../../src/sync/fleet.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { createTestDatabase } from '../support/database.ts';
import { nodesOf, openPlanDoor, type PlanNode, type Planned } from '../support/plans.ts';
import { fee, position, sends, transaction } from '../support/records.ts';
import { pretendScale } from '../support/scale.ts';
import { createWorld, UNLIMITED, type World } from '../support/world.ts';

const EACH_KIND = TRANSACTION_KINDS.map((kind) =>
  transaction(kind, `of-${kind}`, { fees: { items: [fee('0.1')] } }),
);
const REFUSED = transaction('send', 'refused', { output: null });

/** Alice, synced once, and a database that is taken for a large one. */
async function createLargeWorld(customers = 100_000): Promise<World> {
  const database = await createTestDatabase();
  onTestFinished(() => database.close());
  const world = await createWorld({ database, settings: { pageLimit: 20 } });
  world.data.add('assets', 'alice', position('BTC', '1'), position('ETH', '2'));
  world.data.add('transactions', 'alice', ...EACH_KIND, REFUSED);
  await world.addCustomer('alice');
  expect(await world.sync('alice')).toMatchObject({ status: 'partial' });
  await pretendScale(database.pool, 'alice', customers);
  return world;
}

/** What is planned while `work` runs, and the names of its statements. */
async function plansOf(world: World, plan_cache_mode: string, work: (db: Database) => Promise<unknown>) {
  const door = await openPlanDoor(world.database.url, { settings: { plan_cache_mode } });
  const names = new Set<string>();
  const onStatement = (moment: string) => void names.add(moment.replace(/:.*/, ''));
  const db = openDatabase({ url: door.url, maxConnections: 2, onStatement });
  try {
    await work(db);
    return { names, planned: door.take() };
  } finally {
    await db.close();
    await door.close();
  }
}

/** Reads of a table from end to end, or of an index without a condition, but for tables that are always small. */
function wholeReads({ text, plan }: Planned): string[] {
  return nodesOf(plan)
    .filter((node) => isWhole(node) && !SMALL.test(node['Relation Name'] ?? ''))
    .map((node) => `${node['Node Type']} ${node['Relation Name'] ?? node['Index Name']}: ${text}`);
}

const SMALL = /^(fleet_pause|contract_drift)$/;
const isWhole = (node: PlanNode) =>
  node['Node Type'] === 'Seq Scan' || (node['Index Name'] !== undefined && node['Index Cond'] === undefined);

/** Once with each value known to the planner, once with none, as a prepared statement's sixth time may be. */
test.each(['force_custom_plan', 'force_generic_plan'])('a sync reads nothing whole (%s)', async (mode) => {
  const world = await createLargeWorld();
  const { names, planned } = await plansOf(world, mode, async (db) => {
    const { log, now, random } = world.deps;
    const fleet = createFleet({ db, limiter: UNLIMITED, log, now, random, maxWaitMs: 60_000 });
    const sync = async (status: string) => {
      await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
      const outcome = await runSync({ ...world.deps, db, fleet }, 'alice', new AbortController().signal);
      expect(outcome).toMatchObject({ status });
    };
    const { data } = world;
    // New pages, one that moves, one that is another, one still refused, a position with a new state.
    data.add('transactions', 'alice', ...sends(90));
    data.replace('transactions', 'alice', 'of-send', transaction('receive', 'of-send'));
    data.replace(
      'transactions',
      'alice',
      'of-input_only',
      transaction('input_only', 'of-input_only', { hash: '0xother' }),
    );
    data.replace('assets', 'alice', 'BTC', position('BTC', '3'));
    await sync('partial');
    // A few are gone, and nothing is refused any more; then very many are gone.
    for (const id of ['t001', 't002', 'refused']) data.remove('transactions', 'alice', id);
    await sync('succeeded');
    for (let index = 10; index < 60; index++) data.remove('transactions', 'alice', `t0${index}`);
    await sync('partial');
  });

  const steps = ['find', 'count_live', 'missing', 'stage', 'remove'].map((step) => `${step}_transactions`);
  const others = [
    'find_positions',
    'close_history',
    'delete_send',
    'delete_fees',
    'seen_in_walk',
    'glance_at_transactions',
    'refuse_known',
    'settle_met',
  ];
  expect([...names]).toEqual(
    expect.arrayContaining([...steps, ...others, 'record_page', 'insert held_removals']),
  );
  expect(planned.length).toBeGreaterThan(100);
  expect(planned.flatMap(wholeReads)).toEqual([]);
});

/** Without `pruneEvents`, which looks at each event once an hour. */
test('neither the tick nor the outbox nor a look at one customer reads anything whole', async () => {
  const world = await createLargeWorld();
  const { planned } = await plansOf(world, 'force_custom_plan', async (db) => {
    await db.run((orm) => listDueCustomers(orm, 250));
    await db.run(isAnyoneDue);
    await db.transaction(({ orm }) => announceExpiring(orm, 1_000));
    const outbox = openOutbox(db);
    const [delivered, failed] = await outbox.claim(20, 60_000);
    if (!delivered || !failed) throw new Error('too few events are due');
    await outbox.markDelivered(delivered);
    await outbox.markFailed(failed, { reason: 'refused', delayMs: 1_000 });
    await db.run(async (orm) => {
      const [run] = await listRuns(orm, 'alice', 10);
      await readReceipts(orm, run?.runId ?? '');
      await readOpenItems(orm, 'alice', run?.runId ?? '');
      await listQuarantined(orm, { customerId: 'alice', all: true }, 10);
      const [refused] = await nextUnresolved(orm, 'alice', null, 10);
      if (!refused) throw new Error('nothing is in quarantine');
      await db.transaction((tx) => standingRow(tx, refused, '["coinbase","refused"]'));
    });
  });
  expect(planned.length).toBeGreaterThan(12);
  expect(planned.flatMap(wholeReads)).toEqual([]);
});

const IN_2023 = `occurred_at >= '2023-01-01' AND occurred_at < '2024-01-01'`;
const LIVE = `customer_id = 'alice' AND removed_at IS NULL`;
const POSITION = `customer_id = 'alice' AND provider_id = 'coinbase' AND account_id = 'account-1' AND asset_symbol = 'BTC'`;

/** What analysts ask of one customer. */
const QUESTIONS = {
  'its transactions of a year': `SELECT * FROM calico.transactions WHERE ${LIVE} AND ${IN_2023}`,
  'what it received by asset in a year': `SELECT input_asset_symbol, sum(input_amount) FROM calico.transactions
    WHERE kind IN ('receive', 'input_only') AND ${LIVE} AND ${IN_2023} GROUP BY 1`,
  'its latest transactions': `SELECT * FROM calico.transactions WHERE ${LIVE} ORDER BY occurred_at DESC LIMIT 50`,
  'all it has of an asset': `SELECT * FROM calico.transactions WHERE ${LIVE} AND input_asset_symbol = 'BTC'`,
  'one transaction by its hash': `SELECT * FROM calico.transactions WHERE ${LIVE} AND transaction_hash = '0xof-send'`,
  'one transaction by its id': `SELECT * FROM calico.transactions
    WHERE customer_id = 'alice' AND provider_id = 'coinbase' AND transaction_id = 'of-send'`,
  'the fees of a year': `SELECT f.asset_symbol, sum(f.amount) FROM calico.transactions AS t
    JOIN calico.transaction_fees AS f USING (customer_id, provider_id, transaction_id)
    WHERE customer_id = 'alice' AND t.removed_at IS NULL AND f.removed_at IS NULL AND ${IN_2023} GROUP BY 1`,
  'its positions': `SELECT * FROM calico.asset_positions WHERE ${LIVE}`,
  'the history of a position': `SELECT * FROM calico.asset_position_history WHERE ${POSITION} ORDER BY valid_from`,
  'its positions on a day': `SELECT * FROM calico.asset_position_history WHERE customer_id = 'alice'
    AND valid_from <= '2024-01-01' AND (valid_to IS NULL OR valid_to > '2024-01-01')`,
};

/** So many customers that each has a hundred rows in a table, and so few that each has a hundred thousand. */
test.each([100_000, 100])(
  'what analysts ask of one of %i customers is answered by an index',
  async (customers) => {
    const world = await createLargeWorld(customers);
    const indexesOf = async (question: keyof typeof QUESTIONS) => {
      const [row] = await world.rows<{ 'QUERY PLAN': { Plan: PlanNode }[] }>(
        `EXPLAIN (FORMAT JSON) ${QUESTIONS[question]}`,
      );
      const plan = row?.['QUERY PLAN'][0]?.Plan;
      if (!plan) throw new Error(`there is no plan for ${question}`);
      expect(wholeReads({ text: question, plan })).toEqual([]);
      return nodesOf(plan).flatMap((node) => node['Index Name'] ?? []);
    };
    for (const question of Object.keys(QUESTIONS) as (keyof typeof QUESTIONS)[]) {
      expect(await indexesOf(question), question).not.toEqual([]);
    }
    const byTime = TRANSACTION_KINDS.map((kind) => `${kind}_transactions_by_time`);
    expect(await indexesOf('its latest transactions')).toEqual(byTime);
  },
);
