/**
 * What nobody would miss: where a pass brings most of what there is, an unchanged first page does not prove that it brought
 * everything.
 */
import { expect, test } from 'vitest';
import { customerOf } from '../support/look.ts';
import { recordOf } from '../support/moving-histories.ts';
import { createTwelve, id, item, SIZE } from '../support/twelve.ts';

type Twelve = Awaited<ReturnType<typeof createTwelve>>;
/** A walk of three pages. */
const WALK = 3;

/** The third page's first is the second's last then: a walk that was there has not met it. */
const shift = ({ remove }: Twelve) => remove(6);
const SHIFTED = id(3);

/** Another provider's records, older than all others: two pages of them, t20 the oldest. */
function connectProvider({ add }: Twelve): void {
  for (let index = 0; index < 8; index++) add(20 + index, index - 8);
}

test('a first load is green with what was shifted past its cursor', async () => {
  const twelve = await createTwelve('offsets');
  const seen = await twelve.sync((page) => page === 3 && shift(twelve));
  expect(await twelve.ids()).toContain(SHIFTED);
  // The second walk has it, and no longer has the one that went: the third proves it.
  expect(seen).toMatchObject({ status: 'succeeded', requests: 3 * WALK + 1 });
});

test('where nothing moves a first load takes two walks, and no other pass does', async () => {
  const { world, sync, add, ids } = await createTwelve('newest_first');
  expect(await sync()).toMatchObject({ status: 'succeeded', requests: 2 * WALK + 1, pages: 2 * WALK });
  const [receipt] = await world.rows("SELECT * FROM calico.sync_run_streams WHERE stream = 'transactions'");
  expect(receipt).toMatchObject({ fetched: 2 * SIZE, inserted: SIZE, unchanged: SIZE, balanced: true });
  for (let index = SIZE; index < SIZE + 4; index++) add(index);
  expect(await sync(), 'no more new ones than a page holds').toMatchObject({ requests: WALK + 2 });
  for (let index = SIZE + 4; index < SIZE + 9; index++) add(index);
  expect(await sync(() => {}, 'incremental'), 'the next one reads them again').toMatchObject({ requests: 7 });
  expect(await ids()).toHaveLength(SIZE + 9);
});

test('a first load that another run carries on is proven by that run', async () => {
  const twelve = await createTwelve('offsets');
  const { world, sync, ids } = twelve;
  world.sandbox.faults.add({ endpoint: 'transactions', page: 3, answer: { status: 404 } });
  expect(await sync()).toMatchObject({ status: 'dead_lettered' });
  expect(await sync((page) => page === 1 && shift(twelve))).toMatchObject({ status: 'succeeded' });
  expect(await ids()).toContain(SHIFTED);
});

test('so is a full pass that brings a new provider', async () => {
  const twelve = await createTwelve('offsets');
  const { sync, ids } = twelve;
  await sync();
  connectProvider(twelve);
  expect(await sync((page) => page === 5 && shift(twelve))).toMatchObject({ status: 'succeeded' });
  expect(await ids()).toContain(id(23));
});

test('pages that start over have brought as much', async () => {
  const twelve = await createTwelve('offsets');
  const { world, sync, ids } = twelve;
  await sync();
  connectProvider(twelve);
  world.sandbox.faults.add({ endpoint: 'transactions', page: 5, answer: { status: 400 } });
  expect(await sync((page) => page === 10 && shift(twelve))).toMatchObject({ status: 'succeeded' });
  expect(await ids()).toContain(id(23));
});

test('a quarantined record is no reason to believe it', async () => {
  const twelve = await createTwelve('offsets');
  const { data, sync, ids } = twelve;
  data.replace('transactions', 'alice', id(1), recordOf(id(1), { ...item(1), amount: 'much' }));
  expect(await sync((page) => page === 3 && shift(twelve))).toMatchObject({ status: 'partial' });
  expect(await ids()).toContain(SHIFTED);
});

test('while a provider is down nothing is proven; the pass after that proves it', async () => {
  const twelve = await createTwelve('offsets');
  const { world, sync, ids } = twelve;
  const partial = [{ provider_id: 'kraken', cause: 'maintenance' }];
  const { remove } = world.sandbox.faults.add({ times: Number.POSITIVE_INFINITY, answer: { partial } });
  expect(await sync()).toMatchObject({ status: 'partial', requests: WALK + 1 });
  remove();
  twelve.add(12, 3.5);
  const { status } = await sync((page) => page === 3 && shift(twelve), 'incremental');
  expect(status).toBe('succeeded');
  expect(await ids(), 'what was shifted').toContain(id(12));
});

test('one who always has new transactions comes to rest, whichever way they are sorted', async () => {
  for (const paging of ['oldest_first', 'newest_first', 'offsets'] as const) {
    const { sync, ids, add } = await createTwelve(paging);
    let latest = SIZE;
    const { status } = await sync((page) => page % WALK === 2 && add(latest++));
    expect(status, paging).toBe('succeeded');
    expect((await ids()).length, paging).toBeGreaterThanOrEqual(SIZE);
  }
});

test('a first load that moves in each walk is partial, and the next pass has to prove it too', async () => {
  const { world, watch, sync, ids, remove } = await createTwelve('offsets');
  let goes = 7;
  const { status, reason, requests } = await sync((page) => page % WALK === 0 && remove(goes--));
  expect({ status, reason, requests }).toEqual({
    status: 'partial',
    reason: 'transactions kept moving at Calico while they were read',
    requests: 3 * WALK + 1,
  });
  expect((await customerOf(world, 'alice')).last_full_at, 'the next one is full again').toBeNull();
  let looks = 0;
  watch('alice', (page) => {
    looks = page;
  });
  await world.makeDue('alice');
  expect(await world.syncToEnd('alice')).toMatchObject({ status: 'succeeded' });
  expect(looks).toBe(2 * WALK + 1);
  expect(await ids()).toContain(SHIFTED);
});
