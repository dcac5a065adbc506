/**
 * What Calico has of the customers of one seed: made, changed and hidden by the seed, and known here well enough to say what
 * must stand in Postgres. Knows nothing of how the project reads a record.
 */
import type { MemoryData } from '../../../src/sandbox/data-memory.ts';
import { type Draw, pick } from '../../../src/sandbox/generate-random.ts';
import { DAY_MS } from '../records.ts';

export type StreamName = 'assets' | 'transactions';
const KINDS = ['send', 'receive', 'input_only', 'output_only', 'input_output', 'uncategorized'] as const;
const HAS = {
  input: ['receive', 'input_only', 'input_output'],
  output: ['send', 'output_only', 'input_output'],
} as const satisfies Record<string, readonly (typeof KINDS)[number][]>;
/** The provider that goes down now and then. */
export const FRAIL = 'kraken';

export type Item = {
  stream: StreamName;
  id: string;
  provider: string;
  kind: (typeof KINDS)[number];
  timeMs: number;
  /** Rises with each change of its content. */
  version: number;
  amount: string;
  fees: string[];
  state: 'there' | 'malformed' | 'gone';
  /** The step of its last change. */
  changedAt: number;
  /** The step since which Calico has had it, whatever became of its content, its time or its provider. */
  thereSince: number;
  /** The steps at which it changed its place in the walk. */
  moves: number[];
};

export type Calico = {
  customerIds: readonly string[];
  itemsOf(customerId: string): readonly Item[];
  /** Changes one thing of a customer's and says what. `step` is remembered with it. */
  change(customerId: string, step: number): string;
  /** Makes everything readable. */
  mend(customerId: string, step: number): void;
  /** A provider that is down shows none of its records; those who ask must be told by a 206. */
  setDown(customerId: string, isDown: boolean): void;
  isDown(customerId: string): boolean;
};

export type CalicoOptions = {
  data: MemoryData;
  draw: Draw;
  customerIds: readonly string[];
  nowMs: number;
  /** Do records mostly change their places? */
  restless: boolean;
};

/** Makes the customers and their first records. */
export function createCalico({ data, draw, customerIds, nowMs, restless }: CalicoOptions): Calico {
  const items = new Map<string, Item[]>();
  const down = new Set<string>();

  const isShown = (customerId: string, item: Item) =>
    item.state !== 'gone' && !(down.has(customerId) && item.provider === FRAIL);

  /** Puts the record where it belongs now; the order of a walk is by time and id. */
  function show(customerId: string, item: Item): void {
    const { stream, id } = item;
    data.remove(stream, customerId, id);
    if (isShown(customerId, item)) data.add(stream, customerId, wireOf(item));
  }

  function touch(customerId: string, item: Item, step: number, changes: Partial<Item>): void {
    Object.assign(item, changes, { changedAt: step });
    show(customerId, item);
  }

  function addItem(customerId: string, stream: StreamName, step: number): Item {
    const own = items.get(customerId) ?? [];
    const nth = own.filter((item) => item.stream === stream).length;
    // The first of each stream stays and is readable: where a pass shows nothing at all, a person is asked.
    const isAnchor = nth === 0;
    const item: Item = {
      ...{ stream, id: `${stream === 'assets' ? 'A' : 't'}${draw(90) + 10}-${nth}` },
      provider: isAnchor || draw(3) > 0 ? 'coinbase' : FRAIL,
      kind: pick(draw, KINDS),
      timeMs: nowMs - draw(4) * DAY_MS - draw(DAY_MS) - (draw(4) === 0 ? 40 * DAY_MS : 0),
      ...{ version: 1, amount: amountFrom(draw), fees: feesFrom(draw) },
      state: !isAnchor && draw(25) === 0 ? 'malformed' : 'there',
      changedAt: step,
      thereSince: step,
      moves: [],
    };
    own.push(item);
    items.set(customerId, own);
    show(customerId, item);
    if (!isAnchor && draw(20) === 0 && isShown(customerId, item)) data.add(stream, customerId, wireOf(item));
    return item;
  }

  /** Right behind one that comes earlier: from what a walk has before it, perhaps, to what it has behind it. */
  function dodge(own: readonly Item[], item: Item): number {
    const earlier = own.filter(({ timeMs }) => timeMs < item.timeMs);
    return earlier.length > 0 ? pick(draw, earlier).timeMs + 1 : item.timeMs;
  }

  for (const customerId of customerIds) {
    data.addCustomer(customerId);
    for (let left = 1 + draw(4); left > 0; left--) addItem(customerId, 'assets', 0);
    for (let left = restless ? 6 + draw(8) : 1 + draw(draw(4) === 0 ? 12 : 6); left > 0; left--)
      addItem(customerId, 'transactions', 0);
  }

  return {
    customerIds,
    itemsOf: (customerId) => items.get(customerId) ?? [],
    change: (customerId, step) => {
      const stream: StreamName = draw(restless ? 8 : 3) === 0 ? 'assets' : 'transactions';
      const own = (items.get(customerId) ?? []).filter((item) => item.stream === stream);
      const item = pick(draw, own);
      const isAnchor = item === own[0];
      const what = `${customerId} ${item.id}`;
      const turn = restless && draw(10) < 7 ? 5 : draw(10);
      if (turn < 2) return `${customerId} gets ${addItem(customerId, stream, step).id}`;
      if (item.state === 'gone' || item.state === 'malformed') {
        const thereSince = item.state === 'gone' ? step : item.thereSince;
        touch(customerId, item, step, { state: 'there', version: item.version + 1, thereSince });
        return `${what} is back`;
      }
      if (turn < 4 && !isAnchor) {
        touch(customerId, item, step, { state: 'gone' });
        return `${what} goes`;
      }
      if (turn < 5 && !isAnchor) {
        touch(customerId, item, step, { state: 'malformed' });
        return `${what} can no longer be read`;
      }
      if (turn < 7 && stream === 'transactions') {
        const timeMs = draw(3) > 0 ? dodge(own, item) : item.timeMs + draw(3 * DAY_MS);
        touch(customerId, item, step, { timeMs, version: item.version + 1, moves: [...item.moves, step] });
        return `${what} moves to another time`;
      }
      const kind = draw(2) === 0 ? pick(draw, KINDS) : item.kind;
      const changed = { kind, amount: amountFrom(draw), fees: feesFrom(draw), version: item.version + 1 };
      touch(customerId, item, step, changed);
      return `${what} becomes version ${item.version}, ${kind}`;
    },
    mend: (customerId, step) => {
      for (const item of items.get(customerId) ?? []) {
        if (item.state === 'malformed')
          touch(customerId, item, step, { state: 'there', version: item.version + 1 });
      }
    },
    setDown: (customerId, isDown) => {
      if (isDown) down.add(customerId);
      else down.delete(customerId);
      for (const item of items.get(customerId) ?? []) if (item.provider === FRAIL) show(customerId, item);
    },
    isDown: (customerId) => down.has(customerId),
  };
}

/** Up to 30 digits after the point, no zero at the end: `numeric` shows it as it came. */
function amountFrom(draw: Draw): string {
  const digits = Array.from({ length: draw(30) }, () => draw(10)).join('');
  return `${draw(1_000_000)}.${digits}${1 + draw(9)}`;
}

function feesFrom(draw: Draw): string[] {
  return Array.from({ length: Math.max(0, draw(5) - 2) }, () => amountFrom(draw));
}

const has = (item: Item, side: keyof typeof HAS) => (HAS[side] as readonly string[]).includes(item.kind);

/** A position's version is the whole part of its quantity, a transaction's stands in its description. */
const quantityOf = ({ version, amount }: Item) => `${version}${amount.slice(amount.indexOf('.'))}`;

function wireOf(item: Item): object {
  const { id, provider, stream, state, amount, timeMs, fees, kind, version } = item;
  if (stream === 'assets') {
    const quantity = state === 'malformed' ? 'many' : quantityOf(item);
    return { provider_id: provider, account_id: 'a', asset_symbol: id, network: 'mainnet', quantity };
  }
  const side = { asset_symbol: 'ETH', amount };
  return {
    ...{
      transaction_id: id,
      kind,
      provider_id: provider,
      account_id: 'a',
      timestamp: timeMs,
      hash: `0x${id}`,
    },
    ...(has(item, 'input') ? { input: side } : {}),
    ...(has(item, 'output') ? { output: side } : {}),
    description: `v${version}`,
    fees: {
      items: [...fees, ...(state === 'malformed' ? ['much'] : [])].map((fee) => ({
        ...{ type: 'network', asset_symbol: 'USD', amount: fee },
      })),
    },
  };
}

/** The row that an item is when it was read, as `LIVE_ROWS` (oracle.ts) has it. */
export function rowOf(item: Item): string {
  const { stream, kind, provider, timeMs, amount, version, fees } = item;
  if (stream === 'assets') return [provider, 'a', 'mainnet', quantityOf(item)].join(' ');
  const side = (name: keyof typeof HAS) => (has(item, name) ? `ETH ${amount}` : '-');
  return [
    ...[kind, provider, 'a', timeMs, side('input'), side('output'), `v${version}`, `0x${item.id}`],
    fees.map((fee) => `USD ${fee}`).join(','),
  ].join(' ');
}

/** The version that a row is of. */
export function versionOf(row: string): number {
  return Number(/ v(\d+) /.exec(row)?.[1] ?? / (\d+)\.\d+/.exec(row)?.[1]);
}
