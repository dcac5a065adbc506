/** Promise 1 at its narrowest: the process dies while Postgres is at work on a COMMIT. Between two statements: crash-points.test.ts. */
import { expect, test } from 'vitest';
import { createGate, nth } from '../support/gate.ts';
import { type SyncProcess, startSyncProcess } from '../support/killable-sync.ts';
import { dataOf, fetchesOf, runsOf, untilPageLanded, waitingBackends } from '../support/look.ts';
import { fee, position, sends } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, type World } from '../support/world.ts';

/** Two walks of three pages, and the last look at the first. */
const PAGES = 7;

test('killed when its COMMIT is on the way, a page is there whole, and is not fetched again', async () => {
  const { world, killWhileHeldUp } = await startVictim({ holdThird: true });

  await killWhileHeldUp(1);

  expect(await transactionsOf(world, 'victim')).toBe(4);
  await world.expireLease('victim');
  expect(await world.sync('victim')).toMatchObject({ kind: 'done', status: 'succeeded' });
  await expectTheUndisturbed(world, { committed: 2 });
});

test('killed with another page behind it, that one is there whole or not at all', async () => {
  const { world, killWhileHeldUp } = await startVictim({ holdThird: false });

  await killWhileHeldUp(2);

  // Postgres may have all of it, COMMIT included, or notice that its client is gone before it comes to that.
  expect([4, 5]).toContain(await transactionsOf(world, 'victim'));
  await world.expireLease('victim');
  expect(await world.sync('victim')).toMatchObject({ kind: 'done', status: 'succeeded' });
  await expectTheUndisturbed(world, { committed: 2 });
});

/**
 * A victim in a process of its own that has committed one page of transactions and waits for the second. `holdThird`: it never gets
 * the one after.
 */
async function startVictim({ holdThird }: { holdThird: boolean }) {
  const isSecond = nth(2, 'transactions');
  const isThird = nth(3, 'transactions');
  const gate = createGate((request) => request.customerId === 'victim' && isSecond(request));
  const never = createGate((request) => request.customerId === 'victim' && isThird(request) && holdThird);
  const world = await createWorld({
    ownDatabase: true,
    settings: { pageLimit: 2 },
    sandbox: {
      onRequest: async (request) => {
        await Promise.all([gate.onRequest(request), never.onRequest(request)]);
      },
    },
  });
  for (const customerId of ['undisturbed', 'victim']) {
    world.data.add('assets', customerId, position('BTC', '1'));
    world.data.add(
      'transactions',
      customerId,
      ...sends(5, (index) => ({ fees: { items: [fee(`${index}`)] } })),
    );
    await world.addCustomer(customerId);
  }
  await world.sync('undisturbed');
  const process = startSyncProcess(world, 'victim');
  await Promise.race([gate.arrival, process.endsByItself]);
  await untilPageLanded(world, 'victim');
  return {
    world,
    killWhileHeldUp: (pages: number) => killWhileHeldUp(world, process, pages, gate.open),
  };
}

/** Holds up the commit, lets the page come, and kills the process once `pages` of its pages wait in Postgres. */
async function killWhileHeldUp(
  world: World,
  process: SyncProcess,
  pages: number,
  letThePageCome: () => void,
): Promise<void> {
  // A deferred trigger runs inside COMMIT: the worker has said the word, and does not live to hear the answer.
  await world.rows(`CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END'`);
  await world.rows(`CREATE CONSTRAINT TRIGGER held_up AFTER UPDATE ON calico.checkpoints
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_the_test()`);
  const holder = await world.database.pool.connect();
  await holder.query('BEGIN');
  await holder.query('SELECT pg_advisory_xact_lock(7)');
  letThePageCome();
  const backends = await waitFor(() => waitingBackends(world), {
    describe: 'one page to wait for the lock, and those behind it for the customer’s row',
    until: (waiting) => waiting.length === pages,
  });
  expect(backends.filter(({ wait_event }) => wait_event === 'advisory')).toHaveLength(1);
  await process.kill();
  await holder.query('ROLLBACK');
  holder.release();
  const pids = backends.map(({ pid }) => pid);
  await waitFor(() => world.rows('SELECT FROM pg_stat_activity WHERE pid = ANY ($1)', [pids]), {
    describe: 'the dead process’s backends to end',
    until: (rows) => rows.length === 0,
  });
}

async function transactionsOf(world: World, customerId: string): Promise<number> {
  const rows = await world.rows('SELECT FROM calico.transactions WHERE customer_id = $1', [customerId]);
  return rows.length;
}

/** All as if nobody had died; `committed` pages were asked for once, those after them once or again. */
async function expectTheUndisturbed(world: World, { committed }: { committed: number }): Promise<void> {
  expect(await dataOf(world, 'victim')).toEqual(await dataOf(world, 'undisturbed'));
  const runs = await runsOf(world, 'victim');
  expect(runs.map(({ status }) => status)).toEqual(['abandoned', 'succeeded']);
  const fetches = [...fetchesOf(world, 'victim')].filter(([page]) => page.startsWith('transactions '));
  expect(fetches).toHaveLength(PAGES);
  for (const [index, [page, times]] of fetches.entries()) {
    if (index < committed) expect(times, page).toBe(1);
    else expect(times, page).toBeLessThanOrEqual(2);
  }
}
