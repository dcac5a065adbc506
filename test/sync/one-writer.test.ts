/** Promise 2: a run holds a lease with a rising epoch; a worker that lost it writes nothing. */
import { expect, test } from 'vitest';
import { addCustomer, pauseCustomer, removeCustomer, resumeCustomer } from '../../src/db/customers.ts';
import { acquireLease, holdLease, LeaseLostError } from '../../src/db/leases.ts';
import { createGate, nth } from '../support/gate.ts';
import { dataOf, homesOf, runsOf, untilPageLanded, versionsOf, waitingBackends } from '../support/look.ts';
import { position, sends } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, type World, type WorldOptions } from '../support/world.ts';

/** A sync that waits for its second page of transactions. */
async function startHeldSync(settings: WorldOptions['settings'] = {}) {
  const isHeld = nth(2, 'transactions');
  const gate = createGate(isHeld);
  const world = await createWorld({
    settings: { pageLimit: 2, ...settings },
    sandbox: { onRequest: gate.onRequest },
  });
  world.data.add('assets', 'alice', position('BTC', '1'));
  world.data.add('transactions', 'alice', ...sends(5));
  await world.addCustomer('alice');
  const outcome = world.sync('alice');
  await gate.arrival;
  await untilPageLanded(world, 'alice');
  return { world, outcome, letItGoOn: gate.open };
}

test('two workers at once: one syncs, the other has nothing to do', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();

  expect(await world.sync('alice')).toMatchObject({ kind: 'not_run' });

  letItGoOn();
  expect(await outcome).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(await runsOf(world, 'alice')).toHaveLength(1);
});

test('of ten workers that start in the same instant exactly one runs', async () => {
  const world = await createWorld();
  await world.addCustomer('alice');

  const outcomes = await Promise.all(Array.from({ length: 10 }, () => world.sync('alice')));

  const kinds = outcomes.map(({ kind }) => kind).sort();
  expect(kinds).toEqual(['done', ...Array(9).fill('not_run')]);
  expect(await runsOf(world, 'alice')).toHaveLength(1);
});

const LOSSES: Record<string, (world: World) => Promise<unknown>> = {
  'its lease ran out': (world) => world.expireLease('alice'),
  'another took the lease': (world) =>
    world.rows(
      "UPDATE calico.customers SET epoch = epoch + 1, lease_until = now() + interval '1 hour' WHERE customer_id = 'alice'",
    ),
  'the customer was paused': ({ db }) => db.run((orm) => pauseCustomer(orm, 'alice', 'a test')),
  'the customer was paused and resumed': ({ db }) =>
    db.transaction(async ({ orm }) => {
      await pauseCustomer(orm, 'alice', 'a test');
      await resumeCustomer(orm, 'alice');
    }),
  'the customer was removed': ({ db }) => db.transaction(({ orm }) => removeCustomer(orm, 'alice', false)),
  'the customer was removed and added again': async (world) => {
    await world.db.transaction(({ orm }) => removeCustomer(orm, 'alice', false));
    await world.addCustomer('alice');
  },
};

test.each(Object.entries(LOSSES))('a worker that wakes up when %s writes nothing', async (_name, loseIt) => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  await loseIt(world);
  const before = await everythingOf(world);

  letItGoOn();

  expect(await outcome).toMatchObject({ kind: 'fenced' });
  expect(await everythingOf(world)).toEqual(before);
  const [run] = await runsOf(world, 'alice');
  expect(run).toMatchObject({ status: 'fenced' });
});

test('nor does one whose page says that a provider is down', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  const answer = { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] };
  world.sandbox.faults.add({ endpoint: 'transactions', times: 1, answer });
  await world.expireLease('alice');
  const before = await everythingOf(world);

  letItGoOn();

  expect(await outcome).toMatchObject({ kind: 'fenced' });
  expect(await everythingOf(world)).toEqual(before);
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'fenced' }]);
});

test('a lease that ran out while its holder waited for the row is over', async () => {
  const world = await createWorld();
  await world.addCustomer('alice');
  const lease = await world.db.transaction(({ orm }) => acquireLease(orm, 'alice', 200));
  if (!lease) throw new Error('no lease');
  const holder = await world.database.pool.connect();
  await holder.query('BEGIN');
  await holder.query('SELECT FROM calico.customers FOR UPDATE');
  // Heard from the start: it may fail before the rollback that frees it has answered.
  const isLost = expect(world.db.transaction((tx) => holdLease(tx, lease))).rejects.toThrow(LeaseLostError);
  await waitFor(() => waitingBackends(world), {
    describe: 'the holder to wait for the row',
    until: (waiting) => waiting.length === 1,
  });
  await waitFor(() => world.rows('SELECT FROM calico.customers WHERE lease_until < clock_timestamp()'), {
    describe: 'the lease to run out',
    until: (over) => over.length === 1,
  });
  await holder.query('ROLLBACK');
  holder.release();

  await isLost;
});

test('a worker that lost its lease during a refresh does not say which providers are down', async () => {
  const gate = createGate(nth(1, 'refreshAssets'));
  const world = await createWorld({ sandbox: { onRequest: gate.onRequest } });
  await world.addCustomer('alice');
  world.sandbox.faults.add({ answer: { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] } });
  const outcome = world.sync('alice');
  await gate.arrival;
  await world.expireLease('alice');
  gate.open();

  expect(await outcome).toMatchObject({ kind: 'fenced' });
  expect(await world.rows('SELECT FROM calico.provider_status')).toEqual([]);
});

test('what a fenced worker left is taken up at its checkpoint by the next', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  await world.expireLease('alice');
  letItGoOn();
  await outcome;

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(Object.keys(await homesOf(world, 'alice'))).toHaveLength(5);
  expect((await runsOf(world, 'alice')).map(({ status }) => status)).toEqual(['fenced', 'succeeded']);
});

test('a sleeper wakes up while its successor is at work, and disturbs nothing', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  await world.expireLease('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  const before = await everythingOf(world);

  letItGoOn();

  expect(await outcome).toMatchObject({ kind: 'fenced' });
  expect(await everythingOf(world)).toEqual(before);
  expect((await runsOf(world, 'alice')).map(({ status }) => status)).toEqual(['fenced', 'succeeded']);
});

test('added again after its removal, a customer never meets its former worker’s epoch', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  await world.db.transaction(({ orm }) => removeCustomer(orm, 'alice', true));
  await world.addCustomer('alice');
  // The new worker's first lease must not be the one that the sleeper believes to hold.
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  await world.rows("UPDATE calico.customers SET lease_until = now() + interval '1 hour'");
  const before = await everythingOf(world);

  letItGoOn();

  expect(await outcome).toMatchObject({ kind: 'fenced' });
  expect(await everythingOf(world)).toEqual(before);
});

test('a customer that is removed leaves no run open and no page behind', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();

  await world.db.transaction(({ orm }) => removeCustomer(orm, 'alice', false));
  letItGoOn();
  await outcome;

  expect(await world.rows('SELECT FROM calico.sync_pages')).toEqual([]);
  expect(await world.rows('SELECT FROM calico.checkpoints')).toEqual([]);
  expect(await dataOf(world, 'alice')).toMatchObject({
    send_transactions: [expect.anything(), expect.anything()],
  });
});

test('a customer removed between two turns leaves no run that its namesake would go on with', async () => {
  const world = await createWorld({ settings: { pageLimit: 2, slicePages: 1 } });
  world.data.add('transactions', 'alice', ...sends(5));
  await world.addCustomer('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'slice' });

  await world.db.transaction(({ orm }) => removeCustomer(orm, 'alice', false));
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'abandoned' }]);
  await world.addCustomer('alice');

  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(await runsOf(world, 'alice')).toMatchObject([
    { status: 'abandoned' },
    { status: 'succeeded', mode: 'full' },
  ]);
});

test('a lease is renewed while a page takes longer than it lasts', async () => {
  const leaseMs = 1_500;
  const { world, outcome, letItGoOn } = await startHeldSync({ leaseMs });
  const firstEnd = await leaseEnd(world);

  await waitFor(() => leaseEnd(world), {
    describe: 'the lease to be renewed beyond twice its length',
    until: (end) => end > firstEnd + 2 * leaseMs,
  });
  expect(await world.sync('alice')).toMatchObject({ kind: 'not_run' });

  letItGoOn();
  expect(await outcome).toMatchObject({ kind: 'done', status: 'succeeded' });
});

test('a worker hears of its lost lease while it still waits for Calico, and gives up the request', async () => {
  const { world, outcome } = await startHeldSync({ leaseMs: 1_500 });

  await world.rows('UPDATE calico.customers SET epoch = epoch + 1, lease_until = NULL');

  expect(await outcome).toMatchObject({ kind: 'fenced' }); // nobody ever answered it
});

test('Postgres itself refuses a second open run of a customer', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  const secondRun = `INSERT INTO calico.sync_runs (customer_id, mode, trigger, status, epoch)
    VALUES ('alice', 'full', 'manual', $1, 99)`;

  for (const status of ['running', 'waiting']) {
    await expect(world.rows(secondRun, [status])).rejects.toThrow('sync_runs_open');
  }
  await world.rows(secondRun, ['abandoned']);

  letItGoOn();
  await outcome;
});

test('credentials for a known customer do not take its lease away', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  await world.db.run((orm) => addCustomer(orm, 'alice', 60_000));

  letItGoOn();
  expect(await outcome).toMatchObject({ kind: 'done', status: 'succeeded' });
});

async function leaseEnd(world: World): Promise<number> {
  const [row] = await world.rows<{ lease_until: Date }>('SELECT lease_until FROM calico.customers');
  return row?.lease_until.getTime() ?? 0;
}

/** Data rows with their versions, where the streams stand, and the customer's own row. */
async function everythingOf(world: World): Promise<unknown[]> {
  const [checkpoints, pages, customers, receipts] = await Promise.all(
    ['checkpoints', 'sync_pages', 'customers', 'sync_run_streams'].map((table) =>
      world.rows(`SELECT to_jsonb(t)::text AS row FROM calico.${table} t ORDER BY 1`),
    ),
  );
  return [await versionsOf(world, 'alice'), checkpoints, pages, customers, receipts];
}
