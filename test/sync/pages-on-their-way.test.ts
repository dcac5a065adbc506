/** Pages are sent behind each other, and new ones without a look: nothing that comes of it is to be seen in the rows. */
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { DatabaseError } from '../../src/db/errors.ts';
import { TRANSACTION_KINDS } from '../../src/db/schema.ts';
import { beginAhead } from '../../src/sync/ahead.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { createAlice } from '../support/alice.ts';
import { createGate, type Gate, nth } from '../support/gate.ts';
import { dataOf, fetchesOf, homesOf, receiptOf, runsOf, waitingBackends } from '../support/look.ts';
import { sends, transaction } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, type World } from '../support/world.ts';

test('a transaction that is known, as any kind, in a page that follows new ones moves or stays', async () => {
  const world = await createWorld({ settings: { pageLimit: 1 } });
  const pairs = TRANSACTION_KINDS.flatMap((kind) => TRANSACTION_KINDS.map((next) => ({ kind, next })));
  const sync = async ({ kind, next }: (typeof pairs)[number]) => {
    const customerId = `${kind} as ${next}`;
    world.data.add('transactions', customerId, transaction(kind, 't1'));
    world.data.add('transactions', customerId, transaction(next, 't1', { description: 'later' }));
    await world.addCustomer(customerId);
    expect(await world.sync(customerId)).toMatchObject({ kind: 'done' });
    const [run] = await runsOf(world, customerId);
    const receipt = await receiptOf(world, run?.run_id ?? '', 'transactions');
    expect(receipt).toMatchObject({ inserted: 1, balanced: true });
  };
  await Promise.all(pairs.map(sync));
  const homes = await world.rows('SELECT customer_id, kind, description FROM calico.transactions ORDER BY 1');
  const expected = pairs.map(({ kind, next }) => ({
    customer_id: `${kind} as ${next}`,
    kind: next,
    description: 'later',
  }));
  expect(homes).toHaveLength(pairs.length);
  expect(homes).toEqual(expect.arrayContaining(expected));
});

test('where the page before has landed, the next one is asked for before a hundred records of this one are read', async () => {
  const gate = createGate(nth(2, 'transactions'));
  const world = await createWorld({ settings: { pageLimit: 100 }, sandbox: { onRequest: gate.onRequest } });
  world.data.add('transactions', 'alice', ...sends(250));
  await world.addCustomer('alice');
  let pages = 0;
  let asked = 0;
  let turns = 0;
  const countTurns = async () => {
    for (; asked < 2; turns++) await setImmediate();
  };
  const client: typeof world.deps.client = {
    send: async (request) => {
      const answer = await world.deps.client.send(request);
      if (request.endpoint === 'transactions' && ++pages === 2) void countTurns();
      return answer;
    },
  };
  const begin: typeof beginAhead = (work) => {
    asked++;
    return beginAhead(work);
  };
  const outcome = runSync({ ...world.deps, client, begin }, 'alice', new AbortController().signal);
  await gate.arrival;
  const isLanded = (line: string) => line.includes('page committed') && line.includes('transactions');
  await waitFor(() => world.logged.some(isLanded), { describe: 'the first page to land' });
  gate.open();

  expect(await outcome).toMatchObject({ kind: 'done' });
  // Reading a page takes four (ahead.test.ts).
  expect(turns).toBeLessThan(3);
});

const REFUSED = {
  'a row that Postgres refuses': transaction('send', 't002', { description: 'poison' }),
  'a known one': transaction('receive', 't001', { description: 'sound' }),
};

test.each(Object.entries(REFUSED))('a page with %s lands, and the next one once', async (_what, record) => {
  // The third page comes when the second has landed, and follows it whichever way that was written.
  const gate = createGate(nth(3, 'transactions'));
  const world = await createPoisonable({ pageLimit: 2, onRequest: gate.onRequest });
  const sound = sends(8, () => ({ description: 'sound' }));
  world.data.add('transactions', 'alice', ...sound.slice(0, 2), record, ...sound.slice(3));
  await world.addCustomer('alice');

  const outcome = world.sync('alice');
  await gate.arrival;
  const pagesDone = () =>
    world.rows<{ pages_done: number }>(
      "SELECT pages_done FROM calico.checkpoints WHERE stream = 'transactions'",
    );
  await waitFor(pagesDone, {
    describe: 'the second page to land',
    until: ([checkpoint]) => checkpoint?.pages_done === 2,
  });
  gate.open();

  expect(await outcome).toMatchObject({ kind: 'done' });
  expect(Math.max(...fetchesOf(world, 'alice').values())).toBe(1);
  const [run] = await runsOf(world, 'alice');
  expect(await receiptOf(world, run?.run_id ?? '', 'transactions')).toMatchObject({ balanced: true });
});

test('where each of many pages holds a row that Postgres refuses, the others land in one turn', async () => {
  const world = await createPoisonable({ pageLimit: 2 });
  const poisoned = [1, 2, 5, 9];
  const records = sends(12, (index) => ({ description: poisoned.includes(index) ? 'poison' : 'sound' }));
  world.data.add('transactions', 'alice', ...records);
  await world.addCustomer('alice');

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'partial' });

  expect(Object.keys(await homesOf(world, 'alice'))).toHaveLength(records.length - poisoned.length);
  const [run] = await runsOf(world, 'alice');
  expect(await receiptOf(world, run?.run_id ?? '', 'transactions')).toMatchObject({
    quarantined: poisoned.length,
    balanced: true,
  });
  expect(Math.max(...fetchesOf(world, 'alice').values())).toBe(1);
});

test('what went wrong with a page is told, not what went wrong with the one asked for meanwhile', async () => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'transactions', page: 2, times: 1, answer: { status: 500 } });
  const holder = await world.database.pool.connect();
  await holder.query('BEGIN');
  await holder.query('LOCK calico.send_transactions IN SHARE MODE');
  const outcome = world.sync('alice');
  await waitFor(() => world.sandbox.requestsFor({ method: 'GET' }), {
    describe: 'the second page to be refused',
    until: (requests) => requests.some(({ status }) => status === 500),
  });
  const [first] = await waitFor(() => waitingBackends(world), {
    describe: 'the first page to wait for the table',
    until: (backends) => backends.length === 1,
  });
  await world.rows('SELECT pg_terminate_backend($1)', [first?.pid]);
  await holder.query('ROLLBACK');
  holder.release();

  expect(await outcome).toMatchObject({
    kind: 'later',
    why: 'retry',
    reason: expect.stringContaining('Postgres'),
  });
});

test('what went wrong with a page is told, not what went wrong with the question who waits for its turn', async () => {
  const world = await createAlice({ settings: { slicePages: 3 } });
  const lost = (message: string) => new DatabaseError('unavailable', '08006', message);
  let pages = 0;
  const db: typeof world.db = {
    ...world.db,
    transaction: (work, options) =>
      world.db.transaction((tx) => {
        const query: typeof tx.query = async (name, ...rest) => {
          // It is the slice's last, behind one of positions.
          if (name === 'advance' && ++pages === 2) throw lost('the second page is lost');
          return tx.query(name, ...rest);
        };
        return work({ ...tx, query });
      }, options),
  };
  const isAnyoneWaiting = async () => {
    throw lost('asked in vain who waits');
  };
  const outcome = await runSync(
    { ...world.deps, db, isAnyoneWaiting },
    'alice',
    new AbortController().signal,
  );

  expect(outcome).toMatchObject({
    kind: 'later',
    reason: expect.stringContaining('the second page is lost'),
  });
});

test.each([
  ['new', 'first'],
  ['known', 'changed'],
])(
  'where a page of %s rows breaks off, the one sent behind it writes nothing',
  async (_what, description) => {
    const world = await createAlice();
    if (description === 'changed') {
      await world.sync('alice');
      for (const record of sends(5, () => ({ description })))
        world.data.replace('transactions', 'alice', String(record['transaction_id']), record);
      await world.makeDue('alice');
    }
    const before = await dataOf(world, 'alice');
    const holder = await world.database.pool.connect();
    await holder.query('BEGIN');
    await holder.query('LOCK calico.send_transactions IN SHARE MODE');
    const outcome = world.sync('alice');
    const waiting = await waitFor(() => waitingBackends(world), {
      describe: 'a page to wait for the table, and the next one for the customer’s row',
      until: (backends) => backends.length === 2,
    });
    const [first] = waiting.filter(({ wait_event }) => wait_event === 'relation');
    await world.rows('SELECT pg_terminate_backend($1)', [first?.pid]);
    await holder.query('ROLLBACK');
    holder.release();

    expect(await outcome).toMatchObject({ kind: 'later', why: 'retry' });
    const after = await dataOf(world, 'alice');
    expect(after['send_transactions']).toEqual(before['send_transactions']);
    await world.makeDue('alice');
    expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
    expect(Object.keys(await homesOf(world, 'alice'))).toHaveLength(5);
  },
);

test('who was missing from one page is not forgotten with the next', async () => {
  const world = await createAlice({ settings: { slicePages: 3 } });
  for (const provider_id of ['kraken', 'gemini']) {
    const answer = { partial: [{ provider_id, cause: 'maintenance' }] };
    world.sandbox.faults.add({ endpoint: 'transactions', times: 1, answer });
  }

  // The positions and two pages; what the next turn knows of them it has from Postgres.
  expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'slice' });

  const [run] = await world.rows<{ providers_down: string[] }>('SELECT providers_down FROM calico.sync_runs');
  expect(run?.providers_down.toSorted()).toEqual(['gemini', 'kraken']);
});

/** A world in which Postgres refuses a description. */
async function createPoisonable({
  pageLimit,
  ...sandbox
}: {
  pageLimit: number;
  onRequest?: Gate['onRequest'];
}): Promise<World> {
  const world = await createWorld({ ownDatabase: true, settings: { pageLimit }, sandbox });
  await world.rows(`ALTER TABLE calico.send_transactions ADD CHECK (description <> 'poison')`);
  return world;
}
