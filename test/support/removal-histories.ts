/**
 * Random histories of one customer each, and an oracle that knows promise 6 and nothing of how it is kept: what comes
 * and goes at Calico, what goes wrong on the way, what a person decides; after every sync each row must be live or
 * removed exactly as the oracle says.
 */
import { expect } from 'vitest';
import { requestSync } from '../../src/db/customers.ts';
import { approveHold, listHolds, rejectHold } from '../../src/db/held-removals.ts';
import { TRANSACTION_KINDS } from '../../src/db/schema.ts';
import { type Draw, drawsFrom, pick } from '../../src/sandbox/generate-random.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { DAY_MS, EPOCH_MS, fee, position, transaction } from './records.ts';
import type { World } from './world.ts';

export const HISTORY_PAGE_LIMIT = 10;
const STEPS = 3;
/** The world's connections to Postgres. */
const AT_ONCE = 6;
const STREAMS = ['assets', 'transactions'] as const;
type StreamName = (typeof STREAMS)[number];

/** What Calico has and what Postgres should have. `old`: before the window of an incremental pass. */
type Item = {
  id: string;
  index: number;
  old: boolean;
  atCalico: 'there' | 'malformed' | 'gone';
  row: 'none' | 'live' | 'removed';
  hold: 'none' | 'open' | 'rejected';
};
type Items = Record<StreamName, Item[]>;

/** `pages`: after how many pages the worker dies. `page`: which request of the endpoint is spoiled. */
type Trouble =
  | { kind: 'none' }
  | { kind: 'down'; endpoint: 'refreshAssets' | 'refreshTransactions' }
  | { kind: 'down' | 'outage'; endpoint: StreamName; page: number }
  | { kind: 'restart' }
  | { kind: 'death'; pages: number };

type History = { world: World; draw: Draw; customerId: string; items: Items; tally: Tally };
/** What the oracle saw happen. `unproven`: passes that missed rows and were no proof of it. */
export type Tally = {
  removed: number;
  back: number;
  held: number;
  approved: number;
  rejected: number;
  unproven: number;
};

/** Lives through so many histories, a few at a time, and returns what happened in them. Fails with the seed to blame. */
export async function liveThroughHistories(world: World, histories: number): Promise<Tally> {
  const tally: Tally = { removed: 0, back: 0, held: 0, approved: 0, rejected: 0, unproven: 0 };
  let next = 0;
  const lives = Array.from({ length: AT_ONCE }, async () => {
    while (next < histories) await liveThrough(world, next++, tally);
  });
  await Promise.all(lives);
  return tally;
}

async function liveThrough(world: World, seed: number, tally: Tally): Promise<void> {
  const customerId = `history-${seed}`;
  const draw = drawsFrom(seed);
  const history: History = { world, draw, customerId, items: { assets: [], transactions: [] }, tally };
  world.data.addCustomer(customerId);
  const size = () => (draw(3) === 0 ? 24 + draw(16) : 1 + draw(10));
  for (const stream of STREAMS) for (let left = size(); left > 0; left--) addItem(history, stream, true);
  await world.addCustomer(customerId);
  await world.syncToEnd(customerId);
  for (const stream of STREAMS) for (const item of history.items[stream]) item.row = 'live';
  for (let step = 0; step < STEPS; step++) {
    const told = await takeStep(history);
    await expectRows(history, `seed ${seed}, step ${step}: ${told}`);
    if (draw(2) === 0) await decide(history);
  }
  await expectRows(history, `seed ${seed}, at its end`);
}

// --- what happens ---------------------------------------------------------------------------------------------

async function takeStep(history: History): Promise<string> {
  const { world, draw, customerId } = history;
  const mode = draw(3) === 0 ? 'incremental' : 'full';
  for (const stream of STREAMS) changeCalico(history, stream, mode);
  const trouble = drawTrouble(history, mode);
  await world.db.run((orm) => requestSync(orm, [customerId], mode, 'manual'));
  const brokenOff = trouble.kind === 'death' ? await dieAfter(history, trouble.pages) : [];
  const fault = faultOf(trouble);
  const spoiled = fault && world.sandbox.faults.add({ customerId, ...fault });
  await world.makeDue(customerId);
  const outcome = await world.syncToEnd(customerId);
  spoiled?.remove();
  const told = `${mode}, ${JSON.stringify(trouble)}`;
  expect(outcome, told).toMatchObject({ kind: 'done' });
  for (const stream of STREAMS) {
    foretell(history, stream, mode, brokenOff.includes(stream) || spoils(stream, trouble));
  }
  return told;
}

/** Records come, go and come back; now and then most go at once, or one cannot be read. */
function changeCalico(history: History, stream: StreamName, mode: 'full' | 'incremental'): void {
  const { draw, items } = history;
  const isMass = draw(4) === 0;
  for (const item of items[stream]) {
    const isAnchor = stream === 'transactions' && item.index === 0;
    // What an incremental pass cannot see does not come back before it: whether it is seen would be another promise's.
    const canCome = mode === 'full' || !item.old || stream === 'assets';
    if (item.atCalico === 'there' && !isAnchor && draw(10) < (isMass ? 9 : 1))
      setAtCalico(history, stream, item, 'gone');
    else if (item.atCalico === 'there' && !isAnchor && draw(80) === 0)
      setAtCalico(history, stream, item, 'malformed');
    else if (item.atCalico !== 'there' && canCome && draw(4) === 0)
      setAtCalico(history, stream, item, 'there');
  }
  for (let left = draw(4); left > 0; left--) addItem(history, stream, mode === 'full');
}

function addItem(history: History, stream: StreamName, mayBeOld: boolean): void {
  const { draw, items } = history;
  const index = items[stream].length;
  const old = mayBeOld && index > 0 && draw(2) === 0;
  const item: Item = { id: `${stream[0]}${index}`, index, old, atCalico: 'gone', row: 'none', hold: 'none' };
  items[stream].push(item);
  setAtCalico(history, stream, item, 'there');
}

function setAtCalico(
  { world, customerId }: History,
  stream: StreamName,
  item: Item,
  to: Item['atCalico'],
): void {
  item.atCalico = to;
  world.data.remove(stream, customerId, item.id);
  if (to !== 'gone') world.data.add(stream, customerId, recordOf(stream, item));
}

function recordOf(stream: StreamName, { id, index, old, atCalico }: Item): object {
  const malformed = atCalico === 'malformed';
  if (stream === 'assets') return position(id, malformed ? 'many' : '1');
  const timestamp = old ? EPOCH_MS - 30 * DAY_MS : EPOCH_MS;
  return transaction(
    pick((bound) => index % bound, TRANSACTION_KINDS),
    id,
    {
      timestamp,
      fees: { items: [fee(malformed ? 'much' : '1')] },
    },
  );
}

function drawTrouble({ draw, items }: History, mode: 'full' | 'incremental'): Trouble {
  const pages = { assets: pagesOf(items.assets), transactions: pagesOf(inPass(items, 'transactions', mode)) };
  const endpoint = pick(draw, STREAMS);
  const page = 1 + draw(pages[endpoint]);
  const troubles: Trouble[] = [
    ...Array<Trouble>(4).fill({ kind: 'none' }),
    { kind: 'down', endpoint, page },
    { kind: 'down', endpoint: pick(draw, ['refreshAssets', 'refreshTransactions']) },
    { kind: 'outage', endpoint, page },
    { kind: 'death', pages: 1 + draw(pages.assets + pages.transactions - 1) },
    ...(pages.transactions > 1 ? [{ kind: 'restart' } as const] : []),
  ];
  return pick(draw, troubles);
}

function faultOf(trouble: Trouble) {
  if (trouble.kind === 'none' || trouble.kind === 'death') return null;
  if (trouble.kind === 'restart')
    return { endpoint: 'transactions', page: 2, answer: { status: 400 } } as const;
  const { kind, ...where } = trouble;
  return kind === 'down'
    ? { ...where, answer: { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] } }
    : { ...where, answer: { status: 500 } };
}

/**
 * The worker takes a page a turn, and the last turn ends as its death would: without a word. Returns the stream that it was
 * in the middle of: how many pages a pass takes depends on what is missing.
 */
async function dieAfter({ world, customerId }: History, pages: number): Promise<StreamName[]> {
  const deps = { ...world.deps, settings: { ...world.deps.settings, slicePages: 1 } };
  for (let done = 0; done < pages; done++) {
    await world.makeDue(customerId);
    await runSync(deps, customerId, new AbortController().signal);
  }
  const died = await world.rows<{ run_id: string }>(
    "UPDATE calico.sync_runs SET status = 'running' WHERE customer_id = $1 AND status = 'waiting' RETURNING run_id",
    [customerId],
  );
  expect(died, 'a death before the run ends').toHaveLength(1);
  const begun = await world.rows<{ stream: StreamName }>(
    'SELECT stream FROM calico.sync_run_streams WHERE run_id = $1 AND NOT complete',
    [died[0]?.run_id],
  );
  return begun.map(({ stream }) => stream);
}

/** A person looks at one of the holds. */
async function decide({ world, draw, customerId, items, tally }: History): Promise<void> {
  const holds = await world.db.run((orm) => listHolds(orm, false));
  const hold = holds.find((one) => one.customerId === customerId);
  if (!hold) return;
  const approves = draw(2) === 0;
  await world.db.transaction((tx) => (approves ? approveHold : rejectHold)(tx, hold.holdId));
  tally[approves ? 'approved' : 'rejected']++;
  for (const item of items[hold.stream].filter((one) => one.hold === 'open')) {
    if (approves) item.row = 'removed';
    item.hold = approves ? 'none' : 'rejected';
  }
}

// --- the oracle -----------------------------------------------------------------------------------------------

const inPass = (items: Items, stream: StreamName, mode: 'full' | 'incremental') =>
  items[stream].filter((item) => stream === 'assets' || mode === 'full' || !item.old);

function pagesOf(items: readonly Item[]): number {
  const there = items.filter(({ atCalico }) => atCalico !== 'gone').length;
  return Math.max(1, Math.ceil(there / HISTORY_PAGE_LIMIT));
}

/** What a sync must have made of the rows: promise 6, word by word. */
function foretell(
  { items, tally }: History,
  stream: StreamName,
  mode: 'full' | 'incremental',
  isSpoiled: boolean,
): void {
  const read = inPass(items, stream, mode);
  const live = items[stream].filter(({ row }) => row === 'live').length;
  for (const item of read.filter(({ atCalico }) => atCalico === 'there')) {
    if (item.row === 'removed') tally.back++;
    item.row = 'live';
    item.hold = 'none';
  }
  // One that cannot be read is there all the same: nobody is asked whether it may go.
  for (const item of read.filter(({ atCalico }) => atCalico === 'malformed')) item.hold = 'none';
  const missing = items[stream].filter(
    (item) => item.row === 'live' && item.atCalico === 'gone' && item.hold !== 'rejected',
  );
  const lostARecord = read.some(({ atCalico }) => atCalico === 'malformed');
  if ((stream === 'transactions' && mode !== 'full') || lostARecord || isSpoiled) {
    if (missing.length > 0) tally.unproven++;
    return;
  }
  for (const item of items[stream]) if (item.hold === 'open') item.hold = 'none';
  const nothingCame = read.every(({ atCalico }) => atCalico === 'gone');
  const isMass = missing.length > 20 && missing.length > live / 10;
  const isHeld = isMass || (missing.length > 0 && nothingCame);
  for (const item of missing) {
    if (isHeld) item.hold = 'open';
    else item.row = 'removed';
  }
  if (isHeld) tally.held++;
  else tally.removed += missing.length;
}

function spoils(stream: StreamName, trouble: Trouble): boolean {
  if (trouble.kind === 'down') return !(stream === 'assets' && trouble.endpoint === 'transactions');
  return trouble.kind === 'restart' && stream === 'transactions';
}

/** Every row, what hangs on it, and every hold are as foretold. */
async function expectRows({ world, customerId, items }: History, when: string): Promise<void> {
  const rows = await world.rows<{ id: string; is: string }>(
    `SELECT asset_symbol AS id, CASE WHEN removed_at IS NULL THEN 'live' ELSE 'removed' END
       || CASE WHEN (removed_at IS NULL) = EXISTS (SELECT FROM calico.asset_position_history h
         WHERE (h.customer_id, h.asset_symbol) = (p.customer_id, p.asset_symbol) AND h.valid_to IS NULL)
         THEN '' ELSE ', history differs' END AS is
     FROM calico.asset_positions p WHERE customer_id = $1
     UNION ALL SELECT transaction_id, CASE WHEN removed_at IS NULL THEN 'live' ELSE 'removed' END
       || CASE WHEN (removed_at IS NULL) = (SELECT removed_at IS NULL FROM calico.transaction_fees f
         WHERE (f.customer_id, f.transaction_id) = (t.customer_id, t.transaction_id)) THEN '' ELSE ', fee differs' END
     FROM calico.transactions t WHERE customer_id = $1`,
    [customerId],
  );
  const held = await world.rows<{ id: string; is: string }>(
    `SELECT coalesce(record_key[3], record_key[2]) AS id,
       CASE WHEN rejected_at IS NULL THEN 'open' ELSE 'rejected' END AS is
     FROM calico.held_removal_rows JOIN calico.held_removals USING (hold_id, customer_id)
     WHERE customer_id = $1 AND approved_at IS NULL AND superseded_at IS NULL`,
    [customerId],
  );
  const all = [...items.assets, ...items.transactions];
  const sorted = (found: readonly { id: string; is: string }[]) =>
    found.map(({ id, is }) => `${id} ${is}`).toSorted();
  expect({ rows: sorted(rows), held: sorted(held) }, when).toEqual({
    rows: sorted(all.filter(({ row }) => row !== 'none').map(({ id, row: is }) => ({ id, is }))),
    held: sorted(all.filter(({ hold }) => hold !== 'none').map(({ id, hold: is }) => ({ id, is }))),
  });
}
