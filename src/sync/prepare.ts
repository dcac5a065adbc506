/** A page's records as rows-to-be: all of them read, or only those that Postgres has not just as they came. */
import { setImmediate } from 'node:timers/promises';
import type { Page } from '../calico/pages.ts';
import type { Transaction } from '../db/client.ts';
import type { Glanced, Spelled, Standing } from '../db/find-transactions.ts';
import type { Problem } from '../db/set-aside.ts';
import type { PageOwner, PageWriter, Written } from '../db/transactions.ts';
import { textHashOf } from './normalize/reading.ts';
import type { Normalized } from './normalize/record.ts';

/**
 * A record that is not written; `index` is its place in the page. `key` null: it could not be told.
 * `inConflict`: the key belongs to another record, which landed.
 */
export type Refused = { index: number; key: string | null; problems: Problem[]; inConflict: boolean };

/** A row-to-be, or one that stands as it came, known by its place in the page and its key. */
export type Candidate = { index: number; key: string };

/** A page read: which records become rows, which are repeats, which are refused. */
export type PreparedPage = {
  duplicates: number;
  refused: Refused[];
  candidates: Candidate[];
  /** Every key that could be told, in the page's order, those of refused records too. */
  keys: string[];
  /** The latest time among the candidates; null where the stream's records have none. */
  latest: string | null;
  /**
   * Looks in one statement at most for what stands of some of `candidates`. What it returns writes them beside that; those of them
   * whose key an earlier page held for something else come back. Others may follow before its statements are `answered`.
   */
  look(tx: Transaction, owner: PageOwner, candidates: readonly Candidate[]): Promise<WriteCandidates>;
  /**
   * Writes all `candidates` as new, without a look; where they are not the transaction fails (`PageWriter`). Null: some may be known.
   */
  writeNew: ((tx: Transaction, owner: PageOwner) => StreamWritten) | null;
  /** What is wrong with a conflict, in words. */
  conflict: string;
};

export type WriteCandidates = () => Promise<StreamWritten>;
export type StreamWritten = Omit<Written, 'conflicts'> & { conflicts: Candidate[] };

/** A page of which only is known what its records are called and how they are spelled. */
export type GlancedPage = {
  /** Asks Postgres in one statement which of them stand just as they came, and reads the others. */
  look(tx: Transaction, customerId: string): Promise<PreparedPage>;
  /** Reads all of them. */
  whole(): Promise<PreparedPage>;
};

/** How a stream's records become rows. */
export type RowSpec<Row, Existing, Key> = {
  /** `source`: the record's text. */
  normalize(record: unknown, source: string, keepRaw: boolean): Normalized<Row>;
  keyOf(row: Row): string;
  /** Two records of one pass with one key must agree in this, or they are two things (promise 7). */
  identityOf(row: Row): string;
  conflict: string;
  timeOf(row: Row): string | null;
  writer(rows: readonly Row[], expectNew: boolean): PageWriter<Existing>;
  /** Null: the stream's records are read whatever stands. */
  glance: GlanceSpec<Key> | null;
};

type GlanceSpec<Key> = {
  /** Of a record that was not read; null where it cannot be told. */
  keyOf(record: unknown): Key | null;
  toText(key: Key): string;
  find(
    tx: Transaction,
    customerId: string,
    sought: readonly Sought<Key>[],
    keepRaw: boolean,
  ): Promise<Glanced>;
};
type Sought<Key> = Key & Spelled;

/** What Postgres was asked of a page's records, by their places. */
type Known = Pick<Glanced, 'latest'> & {
  /** The keys of those that stand just as they came. */
  asItCame: ReadonlyMap<number, string>;
  /** Those whose key stands otherwise; null where nobody asked. */
  otherwise: ReadonlySet<number> | null;
};
const NOTHING_KNOWN: Known = { asItCame: new Map(), otherwise: null, latest: null };
const NOTHING_STANDS: Standing<never> = new Map<number, never>();

/** Records that are read in one go: half a millisecond's work. A statement's answer that waits for a whole page waits for six. */
const AT_ONCE = 20;

/**
 * Normalizes a page's records, but for those that stand as they came. Of two with one key and one identity the last counts and the
 * other is a duplicate; of two with one key and another identity the second is refused.
 */
export async function prepare<Row, Existing, Key>(
  spec: RowSpec<Row, Existing, Key>,
  page: Page,
  keepRaw: boolean,
  expectNew: boolean,
  known: Known = NOTHING_KNOWN,
): Promise<PreparedPage> {
  const refused: Refused[] = [];
  const rows = new Map<string, { index: number; row: Row }>();
  const { asItCame, otherwise } = known;
  let { latest } = known;
  let duplicates = 0;
  let read = 0;
  const { records } = page;
  for (let index = 0; index < records.length; index++) {
    if (asItCame.has(index)) continue;
    if (read > 0 && read % AT_ONCE === 0) await setImmediate();
    read++;
    const normalized = spec.normalize(records.read(index), records.sourceOf(index), keepRaw);
    if (!('row' in normalized)) {
      refused.push({ index, ...normalized, inConflict: false });
      continue;
    }
    const { row } = normalized;
    const key = spec.keyOf(row);
    const first = rows.get(key);
    if (first && spec.identityOf(first.row) !== spec.identityOf(row)) {
      refused.push({ index, key, problems: [{ path: '', message: spec.conflict }], inConflict: true });
      continue;
    }
    if (first) duplicates++;
    rows.set(key, { index, row });
    const time = spec.timeOf(row);
    if (time !== null && (latest === null || time > latest)) latest = time;
  }
  const written = [...rows].map(([key, { index }]) => ({ index, key }));
  const candidates = [...written, ...[...asItCame].map(([index, key]) => ({ index, key }))].toSorted(byIndex);
  const rowsOf = (some: readonly Candidate[]) => some.flatMap(({ key }) => rows.get(key)?.row ?? []);
  const whole = spec.writer(rowsOf(written), expectNew);
  const { writeNew } = whole;
  return {
    duplicates,
    refused,
    candidates,
    keys: [...candidates, ...refused].toSorted(byIndex).flatMap(({ key }) => key ?? []),
    latest,
    conflict: spec.conflict,
    look: async (tx, owner, chosen) => {
      const toWrite = chosen === candidates ? written : chosen.filter(({ key }) => rows.has(key));
      const writer = toWrite === written ? whole : spec.writer(rowsOf(toWrite), false);
      const mayStand = otherwise === null || toWrite.some(({ index }) => otherwise.has(index));
      const existing = mayStand ? await writer.find(tx, owner.customerId) : NOTHING_STANDS;
      return async () => {
        const { unchanged, conflicts, ...rest } = await writer.write(tx, owner, existing);
        return {
          ...rest,
          unchanged: unchanged + chosen.length - toWrite.length,
          conflicts: conflicts.flatMap((at) => toWrite[at] ?? []),
        };
      };
    },
    writeNew: writeNew && ((tx, owner) => ({ ...writeNew(tx, owner), conflicts: [] })),
  };
}

const byIndex = (one: { index: number }, other: { index: number }) => one.index - other.index;

/** A page whose records are told by their keys and texts. Null where one has no key to be seen. */
export function glance<Row, Existing, Key>(
  spec: RowSpec<Row, Existing, Key>,
  page: Page,
  keepRaw: boolean,
): GlancedPage | null {
  if (!spec.glance) return null;
  const { keyOf, toText, find } = spec.glance;
  const sought: Sought<Key>[] = [];
  const keys: string[] = [];
  const { records } = page;
  for (let index = 0; index < records.length; index++) {
    const key = keyOf(records.peek(index));
    if (key === null) return null;
    keys.push(toText(key));
    sought.push({ ...key, textHash: textHashOf(records.sourceOf(index)) });
  }
  const whole = () => prepare(spec, page, keepRaw, false);
  return {
    whole,
    look: async (tx, customerId) => {
      const { same, otherwise, latest } = await find(tx, customerId, sought, keepRaw);
      const asItCame = new Map(same.map((at) => [at, keys[at] ?? '']));
      const read = await prepare(spec, page, keepRaw, false, {
        asItCame,
        otherwise: new Set(otherwise),
        latest,
      });
      // Two that may be one, or one that is called otherwise than it looked, were not asked for as what they are.
      const isAsItLooked = read.candidates.every(({ index, key }) => key === keys[index]);
      return isAsItLooked && new Set(read.keys).size === read.keys.length ? read : whole();
    },
  };
}
