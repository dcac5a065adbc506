/** Which pass asks for what: full ones for everything, incremental ones for what is new and a little more. */
import { expect, test } from 'vitest';
import { requestSync } from '../../src/db/customers.ts';
import { runsOf } from '../support/look.ts';
import { DAY_MS, EPOCH_MS, sends, transaction } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

/** `start_time` of each request for transactions so far; null where it had none. */
function startTimes(world: World): (number | null)[] {
  return world.sandbox
    .requestsFor({ endpoint: 'transactions' })
    .map(({ query }) => (query['start_time'] === undefined ? null : Number(query['start_time'])));
}

async function syncAgain(world: World) {
  await world.makeDue('alice');
  return world.syncToEnd('alice');
}

async function modes(world: World): Promise<string[]> {
  return (await runsOf(world, 'alice')).map(({ mode }) => mode);
}

test('the first pass reads everything, the next from three days before the latest transaction', async () => {
  const world = await createWorld({ settings: { pageLimit: 2 } });
  world.data.add('transactions', 'alice', ...sends(3, (index) => ({ timestamp: EPOCH_MS + index * DAY_MS })));
  await world.addCustomer('alice');

  await world.sync('alice');
  await syncAgain(world);

  const watermark = EPOCH_MS + 2 * DAY_MS;
  // Two pages, twice, and the second look at the first; then the same once.
  const first = Array.from({ length: 5 }, () => null);
  const next = Array.from({ length: 3 }, () => watermark - 3 * DAY_MS);
  expect(startTimes(world)).toEqual([...first, ...next]);
  expect(await modes(world)).toEqual(['full', 'incremental']);
});

test('everything is read again after the interval, and on demand', async () => {
  const world = await createWorld();
  world.data.add('transactions', 'alice', ...sends(1));
  await world.addCustomer('alice');
  await world.sync('alice');

  await world.rows("UPDATE calico.customers SET last_full_at = last_full_at - interval '6 days 23 hours'");
  await syncAgain(world);
  await world.rows("UPDATE calico.customers SET last_full_at = last_full_at - interval '1 hour'");
  await syncAgain(world);
  await syncAgain(world);
  await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
  await world.sync('alice');
  await syncAgain(world);

  expect(await runsOf(world, 'alice')).toMatchObject([
    { mode: 'full', trigger: 'schedule' },
    { mode: 'incremental' },
    { mode: 'full' },
    { mode: 'incremental' },
    { mode: 'full', trigger: 'manual' },
    { mode: 'incremental', trigger: 'schedule' },
  ]);
  expect(startTimes(world).map((start) => start === null)).toEqual([true, false, true, false, true, false]);
});

test('a full sync asked for while one is under way is done after it, at once', async () => {
  const world = await createWorld({ settings: { pageLimit: 1, slicePages: 1 } });
  world.data.add('transactions', 'alice', ...sends(3));
  await world.addCustomer('alice');
  await world.syncToEnd('alice');
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ why: 'slice' });

  await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
  await world.syncToEnd('alice');
  await world.syncToEnd('alice'); // nobody makes it due: it is

  expect(await modes(world)).toEqual(['full', 'incremental', 'full']);
});

test('a full pass that a crash broke off is carried on as a full one', async () => {
  const world = await createWorld({ settings: { pageLimit: 1, slicePages: 1 } });
  world.data.add('transactions', 'alice', ...sends(4));
  await world.addCustomer('alice');
  await world.syncToEnd('alice');
  await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
  await world.sync('alice');
  await world.sync('alice');
  await world.rows("UPDATE calico.sync_runs SET status = 'running' WHERE status = 'waiting'");

  await world.syncToEnd('alice');

  expect(await modes(world)).toEqual(['full', 'full', 'full']);
  expect(startTimes(world).every((start) => start === null)).toBe(true);
});

test('a pass that a provider was missing from does not move the watermark', async () => {
  const world = await createWorld({ settings: { pageLimit: 2 } });
  world.data.add('transactions', 'alice', ...sends(1));
  await world.addCustomer('alice');
  await world.sync('alice');
  const before = await watermark(world);

  world.data.add(
    'transactions',
    'alice',
    ...[1, 2, 3].map((day) => transaction('send', `new-${day}`, { timestamp: EPOCH_MS + day * DAY_MS })),
  );
  const down = { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] };
  world.sandbox.faults.add({ endpoint: 'transactions', answer: down }); // the first page only: the last is whole
  expect(await syncAgain(world)).toMatchObject({ status: 'partial' });
  expect(await watermark(world)).toBe(before);

  expect(await syncAgain(world)).toMatchObject({ status: 'succeeded' });
  expect(await watermark(world)).toBe(EPOCH_MS + 3 * DAY_MS);
  expect(new Set(startTimes(world))).toEqual(new Set([null, EPOCH_MS - 3 * DAY_MS]));
});

test('a provider missing from the refresh is missing from the pass', async () => {
  const world = await createWorld();
  world.data.add('transactions', 'alice', ...sends(1));
  await world.addCustomer('alice');
  world.sandbox.faults.add({
    endpoint: 'refreshTransactions',
    answer: { partial: [{ provider_id: 'kraken', cause: 'down' }] },
  });

  expect(await world.sync('alice')).toMatchObject({ status: 'partial' });
  expect(await watermark(world)).toBeNull();
});

test('a transaction dated in the future does not hide those before it', async () => {
  const world = await createWorld();
  const future = Date.now() + 30 * DAY_MS;
  world.data.add('transactions', 'alice', transaction('send', 'future', { timestamp: future }));
  await world.addCustomer('alice');
  await world.sync('alice');

  world.data.add('transactions', 'alice', transaction('send', 'today', { timestamp: Date.now() }));
  await syncAgain(world);

  expect(await world.rows('SELECT FROM calico.transactions')).toHaveLength(2);
  expect(await watermark(world)).toBeLessThanOrEqual(Date.now());
});

test('a watermark never goes back', async () => {
  const world = await createWorld();
  world.data.add(
    'transactions',
    'alice',
    transaction('send', 'late', { timestamp: EPOCH_MS + DAY_MS }),
    ...sends(1),
  );
  await world.addCustomer('alice');
  await world.sync('alice');
  world.data.remove('transactions', 'alice', 'late');
  await syncAgain(world);

  expect(await watermark(world)).toBe(EPOCH_MS + DAY_MS);
});

test('a customer with no transactions is green, and asked for all of them every time', async () => {
  const world = await createWorld();
  await world.addCustomer('alice');
  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });
  expect(await syncAgain(world)).toMatchObject({ status: 'succeeded' });

  world.data.add('transactions', 'alice', ...sends(1));
  await syncAgain(world);

  expect(startTimes(world)).toEqual([null, null, null]);
  expect(await world.rows('SELECT FROM calico.transactions')).toHaveLength(1);
});

async function watermark(world: World): Promise<number | null> {
  const [row] = await world.rows<{ watermark: Date | null }>(
    "SELECT watermark FROM calico.checkpoints WHERE stream = 'transactions'",
  );
  return row?.watermark?.getTime() ?? null;
}
