/** 400, 702 and 703: the pages start over, once a run. */
import { expect, test } from 'vitest';
import { createAlice } from '../support/alice.ts';
import { deadLettersOf, fetchesOf, homesOf, receiptOf, runsOf } from '../support/look.ts';
import { DAY_MS, EPOCH_MS, transaction } from '../support/records.ts';

const ALWAYS = Number.POSITIVE_INFINITY;

test('400 with a cursor starts the pages over, once a run', async () => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'transactions', page: 3, answer: { status: 400 } });

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });

  expect([...fetchesOf(world, 'alice')].map(([, times]) => times)).toEqual([1, 2, 2, 2, ...[1, 1, 1, 1]]);
  const [run] = await runsOf(world, 'alice');
  expect(await receiptOf(world, run?.run_id ?? '', 'transactions')).toMatchObject({
    pages: 5 + 3,
    fetched: 9 + 5, // the second walk
    inserted: 5,
    unchanged: 4 + 5,
    balanced: true,
  });
});

test.each([
  ['a second time', 2],
  ['in a later turn', 1],
])('400 %s is a dead letter', async (_when, slices) => {
  const world = await createAlice({ settings: { slicePages: slices === 1 ? 1 : 50 } });
  world.sandbox.faults.add({
    endpoint: 'transactions',
    when: ({ query }) => query['cursor'] !== undefined,
    times: 2,
    answer: { status: 400 },
  });
  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'dead_lettered' });
  expect(await deadLettersOf(world, 'alice')).toMatchObject([{ code: 400, fault: 'ours' }]);
  expect(fetchesOf(world, 'alice').get('transactions first page')).toBe(2);
});

test('400 without a cursor is a dead letter at once', async () => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'transactions', answer: { status: 400 } });

  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });
  expect(world.sandbox.requestsFor({ endpoint: 'transactions' })).toHaveLength(1);
});

test.each([702, 703])('%i drops the time window, once', async (code) => {
  const world = await createAlice();
  await world.sync('alice');
  world.data.add('transactions', 'alice', transaction('send', 'old', { timestamp: EPOCH_MS - 30 * DAY_MS }));
  const refused = { bodyCode: code, status: 400 };
  world.sandbox.faults.add({ when: ({ query }) => 'start_time' in query, times: ALWAYS, answer: refused });

  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(await homesOf(world, 'alice')).toHaveProperty('old');

  world.sandbox.faults.add({ endpoint: 'transactions', times: ALWAYS, answer: refused });
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });
});
