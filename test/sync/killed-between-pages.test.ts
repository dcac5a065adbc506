/** Promise 1 over several deaths of one run: each costs the page being written and the next at most. Every single moment: crash-points.test.ts. */
import { expect, test } from 'vitest';
import { requestSync } from '../../src/db/customers.ts';
import { createGate, nth } from '../support/gate.ts';
import { createSyncProcesses } from '../support/killable-sync.ts';
import { dataOf, fetchesOf, receiptOf, runsOf } from '../support/look.ts';
import { fee, position, sends } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

function giveRecords({ data }: World, customerId: string): void {
  data.add('assets', customerId, position('BTC', '1'), position('ETH', '2'), position('SOL', '3'));
  data.add('transactions', customerId, ...sends(6, (index) => ({ fees: { items: [fee(String(index))] } })));
}

test('killed at one request after the other, it still gets on by a page each time', async () => {
  const processes = createSyncProcesses();
  const world = await createWorld({
    settings: { pageLimit: 2 },
    sandbox: { onRequest: processes.onRequest },
  });
  for (const customerId of ['undisturbed', 'victim']) {
    giveRecords(world, customerId);
    await world.addCustomer(customerId);
  }
  await world.syncToEnd('undisturbed');

  // Each life: two refreshes, the pages of the assets that it finds undone, one of transactions, and death at the next.
  for (const request of [4, 7, 4]) {
    await processes.killAtRequest(world, 'victim', request);
    await world.expireLease('victim');
  }
  const outcome = await world.sync('victim');

  expect(outcome).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(await dataOf(world, 'victim')).toEqual(await dataOf(world, 'undisturbed'));
  expect(await recordsCounted(world, 'victim')).toMatchObject({ inserted: 9, lost: 0 });
  const again = pagesFetchedAgain(world, 'victim');
  expect(again, 'one a death at least').toBeGreaterThanOrEqual(3);
  expect(again, 'two a death at most').toBeLessThanOrEqual(6);
  const receipt = await receiptOf(
    world,
    (await runsOf(world, 'victim')).at(-1)?.run_id ?? '',
    'transactions',
  );
  expect(receipt).toMatchObject({ complete: true, balanced: true });
});

/** Over all runs of a customer, dead or alive. `lost`: fetched and not accounted for. */
async function recordsCounted(world: World, customerId: string): Promise<object | undefined> {
  const [sums] = await world.rows<object>(
    `SELECT sum(inserted)::int AS inserted, sum(fetched - inserted - unchanged)::int AS lost
     FROM calico.sync_run_streams JOIN calico.sync_runs USING (run_id) WHERE customer_id = $1`,
    [customerId],
  );
  return sums;
}

function pagesFetchedAgain(world: World, customerId: string): number {
  return [...fetchesOf(world, customerId)].reduce((again, [, times]) => again + times - 1, 0);
}

test('a full sync that was asked for stays one though its worker dies before the first page', async () => {
  const processes = createSyncProcesses();
  const world = await createWorld({ sandbox: { onRequest: processes.onRequest } });
  giveRecords(world, 'victim');
  await world.addCustomer('victim');
  await world.syncToEnd('victim');
  await world.db.run((orm) => requestSync(orm, ['victim'], 'full', 'manual'));

  await processes.killAtRequest(world, 'victim', 1);
  await world.expireLease('victim');
  await world.syncToEnd('victim');

  const modes = (await runsOf(world, 'victim')).map(({ mode, status }) => `${mode} ${status}`);
  expect(modes).toEqual(['full succeeded', 'full abandoned', 'full succeeded']);
});

test('a full sync that was asked for stays one though its lease runs out before the first page', async () => {
  const gate = createGate(nth(2, 'refreshAssets'));
  const world = await createWorld({ sandbox: { onRequest: gate.onRequest } });
  await world.addCustomer('alice');
  await world.syncToEnd('alice');
  await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
  const slept = world.sync('alice');
  await gate.arrival;
  await world.expireLease('alice');
  gate.open();
  expect(await slept).toMatchObject({ kind: 'fenced' });

  await world.syncToEnd('alice');

  const modes = (await runsOf(world, 'alice')).map(({ mode, status }) => `${mode} ${status}`);
  expect(modes).toEqual(['full succeeded', 'full fenced', 'full succeeded']);
});
