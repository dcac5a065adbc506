/**
 * Customers whose transactions come, go and change places while their pages are walked, and an oracle that knows what was
 * at Calico all the while. Every history ends with a sync that nothing disturbs, after which the rows are Calico's.
 */
import { expect } from 'vitest';
import { requestSync } from '../../src/db/customers.ts';
import { createMemoryData } from '../../src/sandbox/data-memory.ts';
import { type Draw, drawsFrom, pick } from '../../src/sandbox/generate-random.ts';
import type { SandboxRequest } from '../../src/sandbox/server-log.ts';
import { receiptOf, runsOf } from './look.ts';
import { PAGINGS, type Paging, pagedData } from './moving-data.ts';
import { DAY_MS, EPOCH_MS, transaction } from './records.ts';
import { createWorld, type World } from './world.ts';

export const PAGE_LIMIT = 4;
const STEPS = 3;
/** The world's connections to Postgres. */
const AT_ONCE = 6;
/** An incremental pass sees all of them: what it does not look for is another test's. */
const SPREAD_MS = 2 * DAY_MS;

export type Item = { timestamp: number; amount: string };
/** What Calico has of a customer; `touched`: what came, went or changed its place during the sync. */
type Calico = { customerId: string; items: Map<string, Item>; touched: Set<string>; serial: number };
/** A sync that is over: `isFirstGreen`: no run of the customer's was green before it. */
type Told = { told: string; isGreen: boolean; isFirstGreen: boolean; seed: number };
/** How often it happened that a run said moving, that it walked again, that rows were removed and not. */
export type Tally = { moving: number; walkedAgain: number; stoodStill: number; removed: number };

/** A world in which each customer's pages are walked as `pagingOf` says and its next request is told to `watch`. */
export async function createMovingWorld(pagingOf: (customerId: string) => Paging) {
  const data = createMemoryData();
  const watchers = new Map<string, (request: SandboxRequest) => void>();
  const world = await createWorld({
    settings: { pageLimit: PAGE_LIMIT },
    sandbox: {
      data: pagedData(data, pagingOf),
      logRequests: false,
      onRequest: (request) => watchers.get(request.customerId ?? '')?.(request),
    },
  });
  return {
    world,
    data,
    /** Calls `onPage` before each page of transactions is answered, with its number from 1 on, until the next call. */
    watch: (customerId: string, onPage: (page: number) => void) => {
      let pages = 0;
      watchers.set(customerId, ({ endpoint }) => {
        if (endpoint === 'transactions') onPage(++pages);
      });
    },
  };
}
type MovingWorld = Awaited<ReturnType<typeof createMovingWorld>>;

/** A full or an incremental sync to its end; returns its status, reason and the pages of transactions it was given. */
export async function syncOnce(world: World, customerId: string, mode: 'full' | 'incremental') {
  await world.db.run((orm) => requestSync(orm, [customerId], mode, 'manual'));
  await world.makeDue(customerId);
  const outcome = await world.syncToEnd(customerId);
  const run = (await runsOf(world, customerId)).at(-1);
  const receipt = await receiptOf(world, run?.run_id ?? '', 'transactions');
  return { outcome, status: run?.status, reason: run?.reason, pages: receipt.pages };
}

/** Lives through so many histories, a few at a time. Fails with the seed to blame. */
export async function liveThroughMoves(histories: number): Promise<Tally> {
  const moving = await createMovingWorld((customerId) => pagingOfSeed(Number(customerId.split('-')[1])));
  const tally: Tally = { moving: 0, walkedAgain: 0, stoodStill: 0, removed: 0 };
  let next = 0;
  const lives = Array.from({ length: AT_ONCE }, async () => {
    while (next < histories) await liveThrough(moving, next++, tally);
  });
  await Promise.all(lives);
  return tally;
}

const pagingOfSeed = (seed: number) => pick((bound) => seed % bound, PAGINGS);

async function liveThrough(moving: MovingWorld, seed: number, tally: Tally): Promise<void> {
  const { world } = moving;
  const draw = drawsFrom(seed);
  const calico: Calico = { customerId: `moves-${seed}`, items: new Map(), touched: new Set(), serial: 0 };
  for (let left = 6 + draw(14); left > 0; left--) insert(moving, calico, draw);
  moving.data.addCustomer(calico.customerId);
  await world.addCustomer(calico.customerId);
  let wasGreen = false;
  for (let step = 0; step < STEPS; step++) {
    const mode = draw(3) === 0 ? 'incremental' : 'full';
    calico.touched = new Set();
    const before = new Set(calico.items.keys());
    let changes = draw(8);
    const eagerness = 1 + draw(4);
    moving.watch(calico.customerId, () => {
      for (; changes > 0 && draw(eagerness) === 0; changes--) change(moving, calico, draw);
    });
    const { status, reason, pages } = await syncOnce(world, calico.customerId, mode);
    moving.watch(calico.customerId, () => {});
    const told = `seed ${seed}, ${pagingOfSeed(seed)}, step ${step}: ${mode}, ${pages} pages, ${status}: ${reason}`;
    expect(['succeeded', 'partial'], told).toContain(status);
    if (reason?.includes('moving')) tally.moving++;
    else if (pages > Math.ceil(calico.items.size / PAGE_LIMIT) + 1) tally.walkedAgain++;
    else tally.stoodStill++;
    const isGreen = status === 'succeeded';
    await expectNoneLost(world, calico, before, { told, isGreen, isFirstGreen: isGreen && !wasGreen, seed });
    wasGreen ||= isGreen;
  }
  const last = await syncOnce(world, calico.customerId, 'full');
  expect(last, `seed ${seed}, undisturbed`).toMatchObject({ status: 'succeeded' });
  expect(await rowsOf(world, calico.customerId), `seed ${seed}, at its end`).toEqual(
    Object.fromEntries([...calico.items].sort(([one], [other]) => (one < other ? -1 : 1))),
  );
  const removed = await world.rows(
    'SELECT FROM calico.transactions WHERE customer_id = $1 AND removed_at IS NOT NULL',
    [calico.customerId],
  );
  tally.removed += removed.length;
}

/**
 * What was at Calico all the while is not taken for removed, wherever it went, and is there after the first green run. What
 * stood still besides is there as it is after any green run; but where cursors are offsets, what goes shifts others past
 * them: of those that came since, some may be missed by a later run.
 */
async function expectNoneLost(
  world: World,
  { customerId, items, touched }: Calico,
  before: ReadonlySet<string>,
  { told, isGreen, isFirstGreen, seed }: Told,
): Promise<void> {
  const stayed = [...items].filter(([id]) => before.has(id));
  const gone = await world.rows<{ transaction_id: string }>(
    'SELECT transaction_id FROM calico.transactions WHERE customer_id = $1 AND removed_at IS NOT NULL',
    [customerId],
  );
  const falselyGone = gone.filter(({ transaction_id }) => stayed.some(([id]) => id === transaction_id));
  expect(falselyGone, `${told}; removed though it was there`).toEqual([]);
  const rows = await rowsOf(world, customerId);
  const missed = stayed.map(([id]) => id).filter((id) => !(id in rows));
  if (isFirstGreen) expect(missed, `${told}; missed though it was there`).toEqual([]);
  if (!isGreen || pagingOfSeed(seed) === 'offsets') return;
  const stood = stayed.filter(([id]) => !touched.has(id));
  expect(rows, told).toMatchObject(Object.fromEntries(stood));
}

/** The live rows. */
export async function rowsOf(world: World, customerId: string): Promise<Record<string, Item>> {
  const rows = await world.rows<{ id: string; timestamp: number; amount: string }>(
    `SELECT transaction_id AS id, (extract(epoch FROM occurred_at) * 1000)::float8 AS timestamp, output_amount::text AS amount
     FROM calico.transactions WHERE customer_id = $1 AND removed_at IS NULL ORDER BY transaction_id COLLATE "C"`,
    [customerId],
  );
  return Object.fromEntries(rows.map(({ id, ...item }) => [id, item]));
}

function change(moving: MovingWorld, calico: Calico, draw: Draw): void {
  const ids = [...calico.items.keys()];
  const kind = pick(draw, ['insert', 'remove', 'move', 'move', 'amend'] as const);
  if (kind === 'insert' || ids.length < PAGE_LIMIT) {
    insert(moving, calico, draw);
    return;
  }
  const id = pick(draw, ids);
  calico.touched.add(id);
  const item = calico.items.get(id);
  if (kind === 'remove' || !item) {
    calico.items.delete(id);
    moving.data.remove('transactions', calico.customerId, id);
    return;
  }
  const changed =
    kind === 'move' ? { ...item, timestamp: drawTime(draw) } : { ...item, amount: String(draw(1000)) };
  calico.items.set(id, changed);
  moving.data.replace('transactions', calico.customerId, id, recordOf(id, changed));
}

function insert({ data }: MovingWorld, calico: Calico, draw: Draw): void {
  const id = `t${String(calico.serial++).padStart(3, '0')}`;
  const item = { timestamp: drawTime(draw), amount: String(draw(1000)) };
  calico.items.set(id, item);
  calico.touched.add(id);
  data.add('transactions', calico.customerId, recordOf(id, item));
}

const drawTime = (draw: Draw) => EPOCH_MS + draw(SPREAD_MS);

export function recordOf(id: string, { timestamp, amount }: Item): object {
  return transaction('send', id, { timestamp, output: { asset_symbol: 'ETH', amount } });
}
