/** Promise 3: green means complete. */
import { expect, test } from 'vitest';
import { createGate, nth } from '../support/gate.ts';
import { customerOf, homesOf, receiptOf, runsOf, untilPageLanded } from '../support/look.ts';
import { position, sends, transaction } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

const malformed = (id: string) =>
  transaction('send', id, { output: { asset_symbol: 'ETH', amount: 'much' } });

test('everything that was fetched is accounted for once: new, repeated, in conflict, malformed, known', async () => {
  const world = await createWorld({ settings: { pageLimit: 4 } });
  world.data.add('transactions', 'alice', ...sends(3), malformed('bad-1'));
  await world.addCustomer('alice');
  await world.sync('alice');
  world.data.replace('transactions', 'alice', 't001', (text) => ({
    ...JSON.parse(text),
    description: 'changed',
  }));
  world.data.add(
    'transactions',
    'alice',
    transaction('send', 't000'), // the same again, next to it
    transaction('send', 't002', { hash: '0xother' }), // another transaction under a taken id
    transaction('receive', 't900'),
    transaction('receive', 't900'),
    malformed('t901'),
  );
  await world.makeDue('alice');
  const outcome = await world.sync('alice');

  expect(outcome).toMatchObject({ kind: 'done', status: 'partial' });
  expect(await latestReceipt(world)).toEqual({
    pages: 3,
    fetched: 9,
    inserted: 1,
    updated: 1,
    unchanged: 2,
    duplicates: 2,
    quarantined: 3,
    complete: true,
    balanced: true,
  });
});

test('a repeat that a later page brings is known by then, and counted as such', async () => {
  const world = await createWorld({ settings: { pageLimit: 1 } });
  world.data.add('transactions', 'alice', transaction('send', 't1'), transaction('send', 't1'));
  await world.addCustomer('alice');
  const outcome = await world.sync('alice');

  expect(outcome).toMatchObject({ status: 'succeeded' });
  expect(await latestReceipt(world)).toMatchObject({
    fetched: 2 * 2, // the first load's second walk
    inserted: 1,
    unchanged: 3,
    duplicates: 0,
    balanced: true,
  });
});

test('a run whose receipt does not balance is not green', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  await world.rows(
    "UPDATE calico.sync_run_streams SET inserted = inserted - 1 WHERE stream = 'transactions'",
  );
  letItGoOn();

  expect(await outcome).toMatchObject({ kind: 'done', status: 'failed' });
  expect(await runsOf(world, 'alice')).toMatchObject([
    { status: 'failed', reason: 'the receipt of transactions does not balance' },
  ]);
  expect(await customerOf(world, 'alice')).toMatchObject({ last_success_at: null, last_full_at: null });
});

test('a run one of whose streams did not reach its end is not green', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  await world.rows("UPDATE calico.sync_run_streams SET complete = false WHERE stream = 'assets'");
  letItGoOn();

  expect(await outcome).toMatchObject({ kind: 'done', status: 'failed' });
  expect(await runsOf(world, 'alice')).toMatchObject([{ reason: 'a stream did not reach its end' }]);
  expect(await customerOf(world, 'alice')).toMatchObject({ last_success_at: null, last_full_at: null });
});

test('nobody can call a receipt balanced that is not', async () => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  await expect(world.rows('UPDATE calico.sync_run_streams SET balanced = true')).rejects.toThrow('balanced');
  letItGoOn();
  await outcome;
});

test.each([
  ['cursor', "UPDATE calico.checkpoints SET cursor = 'elsewhere' WHERE stream = 'transactions'"],
  ['pass', "UPDATE calico.checkpoints SET pass_run_id = gen_random_uuid() WHERE stream = 'transactions'"],
  ['row', "DELETE FROM calico.checkpoints WHERE stream = 'transactions'"],
])('a page does not land where the checkpoint’s %s is not what it followed', async (_what, tamper) => {
  const { world, outcome, letItGoOn } = await startHeldSync();
  await world.rows(tamper);
  letItGoOn();

  expect(await outcome).toMatchObject({ kind: 'later', why: 'retry' });
  expect(Object.keys(await homesOf(world, 'alice'))).toEqual(['t000', 't001']);
  const [run] = await runsOf(world, 'alice');
  expect(run?.reason).toContain('does not follow what is there');
  expect(await receiptOf(world, run?.run_id ?? '', 'transactions')).toMatchObject({
    pages: 1,
    fetched: 2,
    complete: false,
  });
});

test('pages that run in a circle are started over once, then end in a clear error; a later run is whole', async () => {
  const world = await createWorld({ settings: { pageLimit: 2 } });
  world.data.add('transactions', 'alice', ...sends(7));
  await world.addCustomer('alice');
  // The third page leads back to the second.
  const cursors = new Set<string>();
  const nextCursorOfThird = { toJSON: () => [...cursors][0] };
  const circle = world.sandbox.faults.add({
    endpoint: 'transactions',
    times: Number.POSITIVE_INFINITY,
    when: ({ query: { cursor } }) => {
      if (cursor) cursors.add(cursor);
      return cursor !== undefined && cursor === [...cursors][1];
    },
    answer: {
      status: 200,
      body: { data: { transactions: sends(1) }, page: { next_cursor: nextCursorOfThird } },
    },
  });

  const outcome = await world.syncToEnd('alice');

  expect(outcome).toMatchObject({ kind: 'dead_lettered', reason: expect.stringContaining('circle') });
  // Twice: first, second and third page, the second again, which is not taken, and what was asked for meanwhile.
  expect(world.sandbox.requestsFor({ endpoint: 'transactions' })).toHaveLength(10);

  await world.makeDue('alice');
  expect(await world.syncToEnd('alice'), 'the circle lasts').toMatchObject({ kind: 'dead_lettered' });
  circle.remove();
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(Object.keys(await homesOf(world, 'alice'))).toHaveLength(7);
});

test.each([
  ['has more and no cursor', { hasMoreWithoutCursor: true }, 'has_more'],
  ['its own cursor for the next', { sameCursor: true }, 'own cursor'],
  ['nothing and a cursor', { emptyPageWithCursor: true }, 'empty'],
  ['no data', { rawBody: '{"page":{}}' }, 'data'],
  ['half an answer', { truncate: 40 }, 'whole answer'],
] as const)('a page with %s is dead-lettered, never taken for the end', async (_what, answer, detail) => {
  const world = await createWorld({ settings: { pageLimit: 2 } });
  world.data.add('transactions', 'alice', ...sends(5));
  await world.addCustomer('alice');
  world.sandbox.faults.add({ endpoint: 'transactions', page: 2, times: Number.POSITIVE_INFINITY, answer });

  const outcome = await world.syncToEnd('alice');

  expect(outcome).toMatchObject({ kind: 'dead_lettered', reason: expect.stringContaining(detail) });
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'dead_lettered' }]);
  expect(await customerOf(world, 'alice')).toMatchObject({ status: 'active', last_success_at: null });
});

/** A sync that waits for its second page of transactions; the first has landed. */
async function startHeldSync() {
  const gate = createGate(nth(2, 'transactions'));
  const world = await createWorld({ settings: { pageLimit: 2 }, sandbox: { onRequest: gate.onRequest } });
  world.data.add('assets', 'alice', position('BTC', '1'));
  world.data.add('transactions', 'alice', ...sends(5));
  await world.addCustomer('alice');
  const outcome = world.sync('alice');
  await gate.arrival;
  await untilPageLanded(world, 'alice');
  return { world, outcome, letItGoOn: gate.open };
}

async function latestReceipt(world: World) {
  const run = (await runsOf(world, 'alice')).at(-1);
  return receiptOf(world, run?.run_id ?? '', 'transactions');
}
