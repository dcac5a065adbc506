/** A run yields its place after a slice, and ends between two pages when the process stops. */
import { expect, test } from 'vitest';
import { isAnyoneDue } from '../../src/db/customers.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { createGate, nth } from '../support/gate.ts';
import { dataOf, fetchesOf, receiptOf, runsOf, waitingBackends } from '../support/look.ts';
import { position, sends } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, type World, type WorldOptions } from '../support/world.ts';

/** One page of positions and five of transactions. */
async function createAlice(options: WorldOptions = {}): Promise<World> {
  const world = await createWorld({ ...options, settings: { pageLimit: 2, ...options.settings } });
  world.data.add('assets', 'alice', position('BTC', '1'));
  world.data.add('transactions', 'alice', ...sends(10));
  await world.addCustomer('alice');
  return world;
}

/** The sixth request: the first page again, which begins a first load's second walk. */
const LOOK = 6;
/** To see whether it has moved since. */
const LAST_LOOK = 11;
const WHOLE = { pages: 10, fetched: 20, inserted: 10, unchanged: 10 };

async function latestReceipt(world: World) {
  const run = (await runsOf(world, 'alice')).at(-1);
  return receiptOf(world, run?.run_id ?? '', 'transactions');
}

test('after its slice a run gives way at once, and goes on as the same run', async () => {
  const world = await createAlice({ settings: { slicePages: 2 } });

  const kinds: string[] = [];
  for (let turn = 0; turn < 8 && kinds.at(-1) !== 'done'; turn++) {
    const outcome = await world.sync('alice'); // due again without a wait
    kinds.push(outcome.kind);
  }

  expect(kinds).toEqual([...Array.from({ length: 5 }, () => 'later'), 'done']);
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'succeeded' }]);
  expect([...fetchesOf(world, 'alice').values()]).toEqual(Array.from({ length: 1 + LAST_LOOK }, () => 1));
  expect(world.sandbox.requestsFor({ method: 'POST' }), 'refreshed once').toHaveLength(2);
  expect(await latestReceipt(world)).toMatchObject({ ...WHOLE, complete: true });
});

test.each([1, 3])('a turn takes its slice of %i and no page more', async (slicePages) => {
  const world = await createAlice({ settings: { slicePages } });

  expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'slice' });
  expect(world.sandbox.requestsFor({ method: 'GET' })).toHaveLength(slicePages);
});

test('where nobody waits for its place a run goes on, page behind page', async () => {
  const world = await createAlice({ settings: { slicePages: 2 } });
  world.deps.isAnyoneWaiting = () => world.db.run(isAnyoneDue);
  await world.addCustomer('bob');
  await world.rows(
    "UPDATE calico.customers SET next_sync_at = now() + interval '1 hour' WHERE customer_id = 'bob'",
  );

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect([...fetchesOf(world, 'alice').values()]).toEqual(Array.from({ length: 1 + LAST_LOOK }, () => 1));
  expect(await latestReceipt(world)).toMatchObject({ ...WHOLE, complete: true, balanced: true });
});

test('where somebody is due meanwhile it gives way at the end of the slice that it is at', async () => {
  const gate = createGate(nth(3, 'transactions'));
  const world = await createAlice({ settings: { slicePages: 2 }, sandbox: { onRequest: gate.onRequest } });
  world.deps.isAnyoneWaiting = () => world.db.run(isAnyoneDue);
  const outcome = world.sync('alice');
  await gate.arrival;
  await world.addCustomer('bob');
  gate.open();

  expect(await outcome).toMatchObject({ kind: 'later', why: 'slice' });
  // Of positions one, and three more: the slice that was begun when nobody waited.
  expect(world.sandbox.requestsFor({ method: 'GET' })).toHaveLength(4);
  await world.syncToEnd('bob');
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect([...fetchesOf(world, 'alice').values()]).toEqual(Array.from({ length: 1 + LAST_LOOK }, () => 1));
});

test('between its slices a customer is nobody’s, and others may have it', async () => {
  const world = await createAlice({ settings: { slicePages: 2 } });
  await world.sync('alice');

  expect(await world.rows('SELECT lease_until FROM calico.customers')).toEqual([{ lease_until: null }]);
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'waiting' }]);
});

test.each([1, 2, 3, 4, 5, LOOK, LOOK + 1, LAST_LOOK])(
  'stopped while request %i is on its way, a run ends there and goes on with it',
  async (n) => {
    const gate = createGate(nth(n, 'transactions'));
    const world = await createAlice({ sandbox: { onRequest: gate.onRequest } });
    const stop = new AbortController();
    const outcome = world.sync('alice', stop.signal);
    await gate.arrival;

    stop.abort();

    expect(await outcome, 'without waiting for the answer').toMatchObject({ kind: 'stopped' });
    gate.open();
    expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'waiting', attempts: 0 }]);
    expect(await world.sync('alice'), 'any worker may take it up at once').toMatchObject({
      kind: 'done',
      status: 'succeeded',
    });
    const asked = world.sandbox.requestsFor({ endpoint: 'transactions' }).map(({ query }) => query['cursor']);
    expect(asked, 'each once, and the one that was not waited for').toHaveLength(LAST_LOOK + 1);
    expect(asked[n], 'at once again').toBe(asked[n - 1]);
    expect((await dataOf(world, 'alice'))['send_transactions']).toHaveLength(10);
    expect(await latestReceipt(world)).toMatchObject({ ...WHOLE, balanced: true });
  },
);

/** A sync of alice's that is told to stop while so many pages of it wait in Postgres, one for its table and the others behind it. */
async function stopWhileHeldUp(world: World, pages: number, untilThen: Promise<unknown> | null = null) {
  const stop = new AbortController();
  const holder = await world.database.pool.connect();
  await holder.query('BEGIN');
  await holder.query('LOCK calico.send_transactions IN SHARE MODE');
  const outcome = world.sync('alice', stop.signal);
  await untilThen;
  await waitFor(() => waitingBackends(world), {
    describe: 'one page to wait for the table, and the next one behind it for the customer’s row',
    until: (waiting) => waiting.length === pages,
  });
  stop.abort();
  await holder.query('ROLLBACK');
  holder.release();
  expect(await outcome).toMatchObject({ kind: 'stopped' });
}

test('stopped while two pages are on their way, both land, and nothing is fetched again', async () => {
  const world = await createAlice();

  await stopWhileHeldUp(world, 2);

  expect((await dataOf(world, 'alice'))['send_transactions']).toHaveLength(4);
  expect(await latestReceipt(world)).toMatchObject({ pages: 2, inserted: 4 });
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect([...fetchesOf(world, 'alice').values()]).toEqual(Array.from({ length: 1 + LAST_LOOK }, () => 1));
});

test('stopped while a page is written and the next one has not come, it lands, and only that one is asked for again', async () => {
  const gate = createGate(nth(2, 'transactions'));
  const world = await createAlice({ sandbox: { onRequest: gate.onRequest } });

  await stopWhileHeldUp(world, 1, gate.arrival);

  gate.open();
  expect((await dataOf(world, 'alice'))['send_transactions']).toHaveLength(2);
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'waiting', attempts: 0 }]);
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  const once = Array.from({ length: 1 + LAST_LOOK }, () => 1);
  expect([...fetchesOf(world, 'alice').values()]).toEqual(once.with(2, 2));
});

test('stopped while a request does not end at once, a run gives its customer back when that is over', async () => {
  const world = await createAlice();
  const missing = { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] };
  // What is said of providers is waited for, so that the turn's end comes while the next page is on its way.
  world.sandbox.faults.add({ endpoint: 'transactions', times: 1, answer: missing });
  const stop = new AbortController();
  const released = Promise.withResolvers<void>();
  const order: string[] = [];
  let pages = 0;
  const client: typeof world.deps.client = {
    send: async (request) => {
      if (request.endpoint === 'transactions' && ++pages === 2) {
        stop.abort();
        await released.promise; // as a trade of tokens does
        order.push('the request is over');
      }
      return world.deps.client.send(request);
    },
  };
  const hasLanded = () =>
    world.logged.some((line) => line.includes('page committed') && line.includes('transactions'));
  const db: typeof world.db = {
    ...world.db,
    transaction: (work, options) => {
      if (hasLanded()) order.push('the customer is given back');
      return world.db.transaction(work, options);
    },
  };
  const outcome = runSync({ ...world.deps, client, db }, 'alice', stop.signal);
  await waitFor(hasLanded, { describe: 'the page before to land' });
  released.resolve();

  expect(await outcome).toMatchObject({ kind: 'stopped' });
  expect(order).toEqual(['the request is over', 'the customer is given back']);
});

test('told to stop before it began, a sync asks for nothing', async () => {
  const world = await createAlice();

  expect(await world.sync('alice', AbortSignal.abort())).toMatchObject({ kind: 'stopped' });

  expect(world.sandbox.requests).toEqual([]);
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
});
