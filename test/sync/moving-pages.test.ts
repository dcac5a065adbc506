/** Records that come, go and change places while their pages are walked. All histories: test/reliability/moving-pages.test.ts. */
import { expect, test } from 'vitest';
import { compareHeads, MAX_WALKS } from '../../src/sync/pass-step.ts';
import { customerOf } from '../support/look.ts';
import {
  createMovingWorld,
  liveThroughMoves,
  recordOf,
  rowsOf,
  syncOnce,
} from '../support/moving-histories.ts';
import { createTwelve, id, item, SIZE } from '../support/twelve.ts';

const HISTORIES = 10;

test('nothing moves: one look more than there are pages', async () => {
  const { sync } = await createTwelve('newest_first');
  await sync();
  expect(await sync()).toMatchObject({ status: 'succeeded', requests: 4, pages: 3 });
});

test('a customer of one page is not looked at twice', async () => {
  const { world, data, watch } = await createMovingWorld(() => 'newest_first');
  data.add('transactions', 'alice', recordOf(id(0), item(0)));
  await world.addCustomer('alice');
  let requests = 0;
  watch('alice', (page) => {
    requests = page;
  });
  expect(await syncOnce(world, 'alice', 'full')).toMatchObject({ status: 'succeeded', pages: 1 });
  data.remove('transactions', 'alice', id(0));
  data.add('transactions', 'alice', recordOf(id(1), item(1)));
  expect(await syncOnce(world, 'alice', 'full')).toMatchObject({ status: 'succeeded', pages: 1 });
  expect(Object.keys(await rowsOf(world, 'alice'))).toEqual([id(1)]);
  expect(requests).toBe(2);
});

test.each([
  ['newest_first', 4],
  ['offsets', 5], // the last record was shifted to a page of its own
] as const)('%s: what came in front is in this run', async (paging, pages) => {
  const { sync, ids, add } = await createTwelve(paging);
  await sync();
  const seen = await sync((page) => page === 3 && add(12));
  expect(seen).toMatchObject({ status: 'succeeded', requests: pages, pages });
  expect(await ids()).toContain(id(12));
});

test('offsets: what was shifted past the cursor is met by the second walk', async () => {
  const { sync, ids, remove, add } = await createTwelve('offsets');
  await sync();
  add(12, 7.5);
  expect(await sync((page) => page === 2 && remove(11)), 'the fifth is the fourth now').toMatchObject({
    status: 'succeeded',
    requests: 7,
    pages: 6,
  });
  expect(await ids(), 'the first walk has not met it').toContain(id(12));
});

test('one that goes to pages that are done, and one that is gone: only the latter is removed', async () => {
  const { sync, ids, move, remove } = await createTwelve('oldest_first');
  await sync();
  remove(5);
  const { status, requests } = await sync((page) => page === 3 && move(10, 4.5));
  // What is new in the second walk's place makes it unlike the first: the third proves it.
  expect({ status, requests }).toEqual({ status: 'succeeded', requests: 3 * 3 + 1 });
  expect(await ids()).toEqual(Array.from({ length: SIZE }, (_none, index) => id(index)).toSpliced(5, 1));
});

test('rows that are gone are believed to be after two walks that saw the same', async () => {
  const { sync, ids, remove } = await createTwelve('newest_first');
  await sync();
  remove(5);
  expect(await sync()).toMatchObject({ status: 'succeeded', requests: 2 * 3 + 1 });
  expect(await ids()).not.toContain(id(5));
  expect(await sync(), 'nothing is missing now').toMatchObject({ requests: 4 });
});

test('one who always has new transactions is no reason to doubt what is gone', async () => {
  const { sync, ids, add, remove } = await createTwelve('newest_first');
  await sync();
  remove(5);
  let latest = SIZE;
  expect(await sync((page) => page % 3 === 0 && add(latest++))).toMatchObject({ status: 'succeeded' });
  expect(await ids()).not.toContain(id(5));
});

test('a quarantined record that a walk has not met is not taken for gone', async () => {
  const { world, data, sync, ids, remove } = await createTwelve('offsets');
  const bad = (amount: string) => recordOf(id(7), { ...item(7), amount });
  data.replace('transactions', 'alice', id(7), bad('much'));
  expect(await sync()).toMatchObject({ status: 'partial' });
  const resolved = () => world.rows('SELECT resolution FROM calico.quarantined_records');

  // The first page stands, the second loses one before the third is read: the bad one has gone past the cursor.
  data.remove('transactions', 'alice', id(7));
  data.add('transactions', 'alice', recordOf(id(7), { timestamp: item(2).timestamp + 1, amount: 'much' }));
  expect(await sync((page) => page === 3 && remove(6))).toMatchObject({ status: 'partial' });
  expect(await resolved()).toEqual([{ resolution: null }]);

  data.remove('transactions', 'alice', id(7));
  expect(await sync()).toMatchObject({ status: 'succeeded' });
  expect(await resolved()).toEqual([{ resolution: 'gone' }]);
  expect(await ids()).not.toContain(id(7));
});

test('a second look at nothing removes nothing', async () => {
  const { sync, ids, remove } = await createTwelve('newest_first');
  await sync();
  const all = await ids();
  const gone = all.map((name) => Number(name.slice(1)));
  const { status } = await sync((page) => {
    if (page === 2) remove(5);
    if (page === 4) gone.forEach(remove);
  });
  expect(status).toBe('partial');
  expect(await ids()).toEqual(all);
});

test.each([
  ['as it was', ['a', 'b', 'c'], 'stands'],
  ['in another order, which says nothing', ['c', 'a', 'b'], 'stands'],
  ['new ones in front', ['x', 'y', 'a'], 'grew'],
  ['nothing that was there', ['x', 'y', 'z'], 'moved'],
  ['one that is gone', ['a', 'c', 'd'], 'moved'],
  ['a new one in front and one that is gone', ['x', 'a', 'c'], 'moved'],
  ['fewer', ['a', 'b'], 'moved'],
  ['one twice, for a second that was refused, and one that is gone', ['a', 'a', 'b'], 'moved'],
] as const)('the first page has %s', (_what, now, change) => {
  expect(compareHeads({ before: ['a', 'b', 'c'], now })).toBe(change);
});

test('what moves in every walk is partial and says so, removes nothing, and is looked at again', async () => {
  const { world, watch, sync, ids, add, remove } = await createTwelve('offsets');
  await sync();
  remove(2);
  let latest = SIZE - 1;
  const { status, reason, requests } = await sync((page) => {
    // In front of every look at the first page: one comes, another goes.
    if (page % 3 === 1 && page > 1) add(latest + 1);
    if (page % 3 === 1 && page > 1) remove(latest++);
  });
  expect(requests).toBe(MAX_WALKS * 3 + 1);
  expect({ status, reason }).toEqual({
    status: 'partial',
    reason: 'transactions kept moving at Calico while they were read',
  });
  expect(await ids(), 'not seen, and not believed').toContain(id(2));
  const customer = await customerOf(world, 'alice');
  expect(customer.last_full_at, 'the next one is full again').toBeNull();
  expect(customer.next_ms).toBeLessThanOrEqual(5 * 60_000);

  watch('alice', () => {});
  await world.makeDue('alice');
  await world.syncToEnd('alice');
  expect(await ids()).not.toContain(id(2));
  expect((await customerOf(world, 'alice')).last_full_at).not.toBeNull();
});

test(`${HISTORIES} histories: nothing that was there is lost or removed, and at rest the rows are Calico’s`, async () => {
  const tally = await liveThroughMoves(HISTORIES);
  for (const [what, times] of Object.entries(tally)) expect(times, what).toBeGreaterThan(0);
});
