/** Generated customers whose data never rests: records change, move to another kind, break, go and come back. */
import { TRANSACTION_KINDS } from '../../src/db/schema.ts';
import { everyRecordOf, type SandboxStream } from '../../src/sandbox/data.ts';
import { createMemoryData, type MemoryData } from '../../src/sandbox/data-memory.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { type Draw, drawsFrom, pick } from '../../src/sandbox/generate-random.ts';
import { transaction } from '../support/records.ts';

/** Where records come from no fixed set, tables grow for a good reason and their bloat is not seen. */
const TRANSACTIONS = 60;
/** Fewer than promise 6 holds back for a person (20). */
const MOST_GONE = 6;
/** Changes of a customer's until a broken record is a good one again. */
const BROKEN_FOR = 3;

type Fields = Record<string, unknown>;
/** `was`: what is restored when it is mended or comes back; several positions share a symbol. */
type Entry = {
  stream: SandboxStream;
  id: string;
  was: string[];
  state: 'here' | 'gone' | 'broken';
  left: number;
};

export type Churn = {
  data: MemoryData;
  /** One change of each of `count` customers drawn by lot. */
  change(count: number): void;
  /** Every record is a good one from now on; what is gone stays gone. */
  settle(): void;
  changes(): number;
};

/** Deterministic by its seed. Customers have a fixed set of ids each, of which a few are gone at any time. */
export function createChurn({ customers, seed }: { customers: number; seed: number }): Churn {
  const draw = drawsFrom(seed, 9);
  const data = createMemoryData();
  const generated = generateData({ customers, transactions: TRANSACTIONS, seed });
  const entries = new Map(
    generated.customerIds().map((customerId) => {
      const texts = [...everyRecordOf(generated, 'transactions', customerId)];
      const transactions = texts.map((text) => JSON.stringify(moved(draw, JSON.parse(text))));
      const positions = [...everyRecordOf(generated, 'assets', customerId)];
      data.add('transactions', customerId, ...transactions);
      data.add('assets', customerId, ...positions);
      return [customerId, [...bySymbol(positions), ...transactions.map(entryOf)]] as const;
    }),
  );
  const ids = [...entries.keys()];
  let changes = 0;

  const restore = (customerId: string, entry: Entry) => {
    if (entry.state !== 'here') {
      data.remove(entry.stream, customerId, entry.id);
      data.add(entry.stream, customerId, ...entry.was);
    }
    entry.state = 'here';
  };
  const changeOne = (customerId: string) => {
    const own = entries.get(customerId) ?? [];
    for (const entry of own) if (entry.state === 'broken' && --entry.left <= 0) restore(customerId, entry);
    const entry = pick(draw, own);
    const { stream, id } = entry;
    const lot = draw(10);
    if (entry.state !== 'here') restore(customerId, entry);
    else if (lot === 0 && mayGo(own, stream)) {
      data.remove(stream, customerId, id);
      entry.state = 'gone';
    } else if (lot === 1) {
      data.replace(stream, customerId, id, (text) => broken(stream, JSON.parse(text)));
      Object.assign(entry, { state: 'broken', left: BROKEN_FOR });
    } else {
      entry.was = entry.was.map((text) => JSON.stringify(changed(draw, stream, JSON.parse(text))));
      data.remove(stream, customerId, id);
      data.add(stream, customerId, ...entry.was);
    }
    changes++;
  };

  return {
    data,
    change: (count) => {
      for (let change = 0; change < count; change++) changeOne(pick(draw, ids));
    },
    settle: () => {
      for (const [customerId, own] of entries)
        for (const entry of own) if (entry.state === 'broken') restore(customerId, entry);
    },
    changes: () => changes,
  };
}

/** Also of the last of a stream a person is asked whether it is gone. */
function mayGo(own: readonly Entry[], stream: SandboxStream): boolean {
  const here = own.filter((entry) => entry.stream === stream && entry.state === 'here');
  return here.length > 1 && own.filter(({ state }) => state === 'gone').length < MOST_GONE;
}

function entryOf(text: string): Entry {
  return { stream: 'transactions', id: JSON.parse(text).transaction_id, was: [text], state: 'here', left: 0 };
}

function bySymbol(positions: readonly string[]): Entry[] {
  const groups = Map.groupBy(positions, (text): string => JSON.parse(text).asset_symbol);
  return [...groups].map(([id, was]) => ({ stream: 'assets', id, was, state: 'here', left: 0 }));
}

function changed(draw: Draw, stream: SandboxStream, record: Fields): Fields {
  if (stream === 'assets') return { ...record, quantity: amount(draw) };
  // One in eight has a field that the contract does not know.
  const drifted = draw(8) === 0 ? { soak_field: draw(2) === 0 } : {};
  return { ...moved(draw, record), ...drifted };
}

/** The same transaction under a kind drawn by lot, with fees or without. */
function moved(draw: Draw, record: Fields): Fields {
  const { transaction_id, provider_id, account_id, timestamp, hash, fees } = record;
  const same = { provider_id, account_id, timestamp, hash, fees };
  return transaction(pick(draw, TRANSACTION_KINDS), String(transaction_id), {
    ...same,
    description: amount(draw),
  });
}

/** One that the contract refuses. */
function broken(stream: SandboxStream, record: Fields): Fields {
  return stream === 'assets' ? { ...record, quantity: 'many' } : { ...record, account_id: 17 };
}

function amount(draw: Draw): string {
  return `${draw(1_000)}.${1 + draw(1_000_000)}`;
}
