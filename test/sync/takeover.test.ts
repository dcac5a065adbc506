/** Promise 3 across runs: who ends a pass that another run began answers for what was lost of all its pages. */
import { expect, test } from 'vitest';
import { requestSync } from '../../src/db/customers.ts';
import { customerOf, fetchesOf, receiptOf, runsOf } from '../support/look.ts';
import { position, sends, transaction } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

const krakenIsDown = { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] };
const malformed = transaction('send', 'a-bad', { output: { asset_symbol: 'ETH', amount: 'much' } });

/** A customer with one page of positions and three of transactions, a page a turn. */
async function createVictim(): Promise<World> {
  const world = await createWorld({ settings: { pageLimit: 3, slicePages: 1 } });
  world.data.add('assets', 'victim', position('BTC', '1'));
  world.data.add('transactions', 'victim', malformed, ...sends(7));
  await world.addCustomer('victim');
  return world;
}

/** So many turns, and then its worker is killed, before the end of the run is written if that was the last page. */
async function dieAfter(world: World, turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await world.sync('victim');
  await world.rows(
    "UPDATE calico.sync_runs SET status = 'running', finished_at = NULL WHERE status IN ('waiting', 'partial')",
  );
  await world.makeDue('victim');
}

test('killed after a page that a provider was missing from: the next run is partial, the provider stays down', async () => {
  const world = await createVictim();
  world.data.remove('transactions', 'victim', 'a-bad');
  world.sandbox.faults.add({ endpoint: 'transactions', answer: krakenIsDown });
  await dieAfter(world, 2);

  expect(await world.syncToEnd('victim')).toMatchObject({ kind: 'done', status: 'partial' });
  const ends = (await runsOf(world, 'victim')).map(({ status, reason }) => `${status}: ${reason}`);
  expect(ends[1]).toBe('partial: providers down: kraken');
  expect(await world.rows('SELECT provider_id, state FROM calico.provider_status')).toEqual([
    { provider_id: 'kraken', state: 'down' },
  ]);
  expect(await customerOf(world, 'victim')).toMatchObject({ follow_ups: 1, last_success_at: null });
});

test('killed after a page with a quarantined record, twice: the run that ends the pass says so', async () => {
  const world = await createVictim();
  await dieAfter(world, 2);
  await dieAfter(world, 1);

  expect(await world.syncToEnd('victim')).toMatchObject({ kind: 'done', status: 'partial' });
  const last = (await runsOf(world, 'victim'))[2];
  expect(last).toMatchObject({ status: 'partial', reason: '1 record quarantined' });
  expect(await receiptOf(world, last?.run_id ?? '', 'transactions')).toMatchObject({
    // Its own page, and a second walk, which meets it again.
    ...{ pages: 1 + 3, fetched: 3 + 8, inserted: 2, unchanged: 8, quarantined: 1 },
    ...{ complete: true, balanced: true },
  });
});

test('dead-lettered on the second page: the run after the replay answers for the first', async () => {
  const world = await createVictim();
  world.sandbox.faults.add({ endpoint: 'transactions', page: 2, answer: { status: 404 } });
  expect(await world.syncToEnd('victim')).toMatchObject({ kind: 'dead_lettered' });
  await world.makeDue('victim');

  expect(await world.syncToEnd('victim')).toMatchObject({ kind: 'done', status: 'partial' });
  expect((await runsOf(world, 'victim'))[1]?.reason).toBe('1 record quarantined');
});

test('killed when all was read, with losses: nothing is read again, and the losses are said', async () => {
  const world = await createVictim();
  world.sandbox.faults.add({ endpoint: 'assets', answer: krakenIsDown });
  await dieAfter(world, 4);

  expect(await world.syncToEnd('victim')).toMatchObject({ kind: 'done', status: 'partial' });
  expect((await runsOf(world, 'victim'))[1]?.reason).toBe('providers down: kraken; 1 record quarantined');
  expect(new Set(fetchesOf(world, 'victim').values())).toEqual(new Set([1]));
});

test('seed 2430: killed when its positions were read, and then asked for, they are read again', async () => {
  const world = await createVictim();
  await dieAfter(world, 1);
  world.data.replace('assets', 'victim', 'BTC', position('BTC', '2'));
  await world.db.run((orm) => requestSync(orm, ['victim'], 'full', 'manual'));

  expect(await world.syncToEnd('victim')).toMatchObject({ kind: 'done' });
  expect(await world.rows('SELECT quantity FROM calico.asset_positions')).toEqual([{ quantity: '2' }]);
});
