/** Promise 4, where nobody is left to write: workers that die of a customer, and jobs that name none. */
import { expect, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/db/client.ts';
import { pauseCustomer, requestSync } from '../../src/db/customers.ts';
import { settleDeadJob, settleUnreadableJob } from '../../src/sync/dead-workers.ts';
import { createAlice } from '../support/alice.ts';
import { createGate, nth } from '../support/gate.ts';
import { customerOf, deadLettersOf, runsOf, untilPageLanded } from '../support/look.ts';
import { waitFor } from '../support/wait-for.ts';
import type { World } from '../support/world.ts';

/** A turn that never gets its page and leaves what a killed worker leaves: an open run, and a lease that runs out. */
async function dieAtPage(world: World, page: number): Promise<void> {
  const fault = world.sandbox.faults.add({
    endpoint: 'transactions',
    page,
    answer: { delayMs: Number.POSITIVE_INFINITY },
  });
  const pagesLanded = async () => {
    const [row] = await world.rows<{ pages: number }>(
      "SELECT coalesce(sum(pages), 0)::int AS pages FROM calico.sync_run_streams WHERE stream = 'transactions'",
    );
    return row?.pages ?? 0;
  };
  const landed = await pagesLanded();
  const stop = new AbortController();
  const turn = world.sync('alice', stop.signal);
  await waitFor(() => fault.hits === 1, { describe: `page ${page} to be asked for` });
  await waitFor(pagesLanded, {
    describe: 'the page before to land, which may be after that',
    until: (pages) => pages === landed + page - 1,
  });
  // What a killed worker cannot do either: say a word, hold a lease.
  await world.rows(`UPDATE calico.customers SET lease_until = clock_timestamp(), epoch = epoch + 1`);
  stop.abort();
  await turn;
  await world.rows(
    `UPDATE calico.sync_runs SET status = 'running', finished_at = NULL WHERE status = 'fenced'`,
  );
  world.sandbox.faults.clear();
  world.sandbox.clearRequests();
}

test('a customer of whom four workers die in a row is a dead letter, and waits for its next turn', async () => {
  const world = await createAlice();
  await dieAtPage(world, 2); // it had come further
  for (let death = 2; death <= 4; death++) await dieAtPage(world, 1);
  await world.rows(
    `UPDATE calico.sync_run_streams SET complete = true, inserted = 9 WHERE stream = 'assets'`,
  );

  expect(await world.sync('alice')).toMatchObject({
    kind: 'dead_lettered',
    deadLetterId: expect.any(String),
  });
  expect(world.logged.filter((line) => line.includes('"dead letter"'))).toEqual([
    expect.stringContaining('workers died of this customer 4 times in a row'),
  ]);

  expect((await runsOf(world, 'alice')).map(({ status }) => status)).toEqual([
    ...Array(4).fill('abandoned'),
    'dead_lettered',
  ]);
  expect(await deadLettersOf(world, 'alice')).toMatchObject([
    {
      cause: 'workers died',
      fault: 'ours',
      evidence: { deaths: 4, at: ['transactions, page 2'], nextStep: expect.stringContaining('memory') },
    },
  ]);
  expect(world.sandbox.requests, 'nothing was asked once more').toEqual([]);
  expect(await customerOf(world, 'alice')).toMatchObject({ status: 'active' });
  expect((await customerOf(world, 'alice')).next_ms).toBeGreaterThan(29 * 60_000);
  expect(await world.sync('alice')).toMatchObject({ kind: 'not_run' });

  // Its next turn: one more death is enough, a turn that comes to its end settles it.
  await world.rows(`UPDATE calico.customers SET next_sync_at = now()`);
  await dieAtPage(world, 1);
  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });
  await world.rows(`UPDATE calico.customers SET next_sync_at = now()`);
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(await deadLettersOf(world, 'alice')).toMatchObject([
    { resolved_at: expect.any(Date) },
    { resolved_at: expect.any(Date), evidence: { deaths: 5 } },
  ]);
});

test('deaths that each left a page behind are none of the customer’s', async () => {
  const world = await createAlice({ settings: { pageLimit: 1 } });
  for (let death = 1; death <= 4; death++) await dieAtPage(world, 2);

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(await deadLettersOf(world, 'alice')).toEqual([]);
});

test('a job that the queue gives up: the worker that slept is fenced, its run is closed, the schedule moves', async () => {
  const gate = createGate(nth(2, 'transactions'));
  const world = await createAlice({ sandbox: { onRequest: gate.onRequest } });
  const held = world.sync('alice');
  await gate.arrival;
  await untilPageLanded(world, 'alice');

  const outcome = await settleDeadJob(world.deps, 'alice', 4);
  expect(outcome).toMatchObject({ kind: 'dead_lettered' });
  gate.open();
  expect(await held).toMatchObject({ kind: 'fenced' });

  expect(await deadLettersOf(world, 'alice')).toMatchObject([
    { cause: 'workers died', evidence: { deaths: 4, at: ['transactions, page 2'] } },
  ]);
  expect((await runsOf(world, 'alice')).map(({ status }) => status)).toEqual(['fenced', 'dead_lettered']);
  expect((await customerOf(world, 'alice')).next_ms).toBeGreaterThan(29 * 60_000);
  expect(await settleDeadJob(world.deps, 'nobody', 4)).toMatchObject({ kind: 'not_run' });
  // Its work is done, or is not to be done: neither is a reason to condemn it, and a request is kept.
  expect(await settleDeadJob(world.deps, 'alice', 5), 'not due').toMatchObject({ kind: 'not_run' });
  await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
  await world.db.run((orm) => pauseCustomer(orm, 'alice', 'a test'));
  expect(await settleDeadJob(world.deps, 'alice', 5), 'paused').toMatchObject({ kind: 'not_run' });
  expect(await world.rows('SELECT requested_mode FROM calico.customers')).toEqual([
    { requested_mode: 'full' },
  ]);
  expect(await deadLettersOf(world, 'alice')).toHaveLength(1);

  expect(await settleUnreadableJob(world.deps, '7', '{"customer":"string"}')).toMatchObject({
    kind: 'dead_lettered',
  });
  expect(await deadLettersOf(world, '')).toMatchObject([
    { cause: 'unreadable job', run_id: null, evidence: { jobId: '7' } },
  ]);

  const db = openDatabase({ url: 'postgres://127.0.0.1:1/nothing', maxConnections: 1 });
  onTestFinished(db.close);
  expect(await settleDeadJob({ ...world.deps, db }, 'alice', 4)).toMatchObject({
    kind: 'failed',
    notBefore: expect.any(Date),
  });
});
