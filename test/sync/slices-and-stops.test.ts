/** A run yields its place after a slice, and ends between two pages when the process stops. */
import { expect, test } from 'vitest';
import { createGate, nth } from '../support/gate.ts';
import { dataOf, fetchesOf, receiptOf, runsOf } from '../support/look.ts';
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

test('stopped while a page is written, the page lands, and only the one asked for meanwhile is fetched again', async () => {
  const world = await createAlice();
  const stop = new AbortController();
  const holder = await world.database.pool.connect();
  await holder.query('BEGIN');
  await holder.query('LOCK calico.send_transactions IN SHARE MODE');
  const outcome = world.sync('alice', stop.signal);
  await waitForLock(world);
  stop.abort();
  await holder.query('ROLLBACK');
  holder.release();

  expect(await outcome).toMatchObject({ kind: 'stopped' });
  expect((await dataOf(world, 'alice'))['send_transactions']).toHaveLength(2);
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  const [positions, first, next, ...others] = fetchesOf(world, 'alice').values();
  expect([positions, first, ...others]).toEqual(Array.from({ length: LAST_LOOK }, () => 1));
  expect(next).toBeLessThanOrEqual(2);
});

test('told to stop before it began, a sync asks for nothing', async () => {
  const world = await createAlice();

  expect(await world.sync('alice', AbortSignal.abort())).toMatchObject({ kind: 'stopped' });

  expect(world.sandbox.requests).toEqual([]);
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
});

async function waitForLock(world: World): Promise<void> {
  await waitFor(
    () =>
      world.rows(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
      ),
    { describe: 'the commit to wait for the lock', until: (rows) => rows.length === 1 },
  );
}
