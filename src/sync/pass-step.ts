/**
 * Where a pass stands with a page: within a walk, at its end, or looking at the first page once more. Calico's records may
 * come, go and change places while their pages are walked. What comes later is the next run's; but a record that went
 * from pages that were still to come to pages that were done was never met. One that is known would be taken for gone, one
 * that is new would be missed by a run that says it has everything. So after the last page of several the first is asked
 * for again, and the pages are walked again where it moved, where what is known is missing, and where too much is new for
 * anything to be missing: until two walks in a row saw the same. A walk of a single page shows one moment of Calico's, and
 * needs none of this; a pass with a time window neither, for the next one reads the same again.
 */
import type { Page } from '../calico/pages.ts';
import type { Pass, Place } from '../db/checkpoints.ts';
import type { Transaction } from '../db/client.ts';
import { type Heads, readHeads, sawTheSame } from '../db/passes.ts';
import { countLiveRows } from '../db/removals.ts';
import { type EndedPass, isAbsenceUnproven } from './removals.ts';

/** Walks of one pass; a customer whose records move in each of them is read, and said to be moving. */
export const MAX_WALKS = 3;

/**
 * What a page means to its pass. `walk`: it is one of a walk's. Of a second look at the first page: `stands`: as it was,
 * the pass is over; `grew`: what is new stands in front of it, and is all there is to write before the pass is over;
 * `moving`: that was the last walk, and there is no telling what it missed.
 */
export type Step = 'walk' | 'stands' | 'grew' | 'moving';

/** The first page once more, at the end of a walk. */
export function isSecondLook({ passWalk }: Pass, { cursor }: Page): boolean {
  return passWalk > 0 && cursor === null;
}

/** Asked before anything of the page is written. `keys`: the page's, in its order. */
export async function stepOf(
  tx: Transaction,
  page: Page,
  keys: readonly string[],
  ended: EndedPass,
): Promise<Step> {
  const { pass } = ended;
  const { passRunId, stream, passWalk } = pass;
  if (!isSecondLook(pass, page) || page.nextCursor === null) return 'walk';
  const change = compareHeads(await readHeads(tx, { passRunId, stream, walk: passWalk - 1 }, keys));
  if (change !== 'moved' && (await isProven(tx, ended, new Set(keys).size))) return change;
  return passWalk < MAX_WALKS ? 'walk' : 'moving';
}

/** Is the first page, which stands, enough to say that nothing was missed? What two walks in a row saw is believed. */
async function isProven(tx: Transaction, ended: EndedPass, firstPage: number): Promise<boolean> {
  const { passRunId, stream, passWalk } = ended.pass;
  if (passWalk >= 2 && (await sawTheSame(tx, { passRunId, stream, walk: passWalk - 1 }))) return true;
  return !(await isPresenceUnproven(tx, ended, firstPage)) && !(await isAbsenceUnproven(tx, ended));
}

/**
 * Did the pass bring so much (the first load, a new provider) that nobody would notice what it missed: more new rows than
 * the first page has records? Asked of the customer's rows, not of receipts, for any number of runs may have brought them.
 * A first load with a provider down is not asked: it is partial, and the next pass reads everything again.
 */
async function isPresenceUnproven(tx: Transaction, ended: EndedPass, firstPage: number): Promise<boolean> {
  const { customerId, isFirst, partial } = ended;
  const { stream, passStartTime, passLiveRows, passPartial } = ended.pass;
  if (passStartTime !== null) return false;
  if (isFirst) return !partial && !passPartial;
  // A pass that was begun by an earlier version did not count them.
  if (passLiveRows === null) return false;
  return (await countLiveRows(tx, { customerId, stream })) - passLiveRows > firstPage;
}

/** Where the pass goes on after a page; null: it is over. */
export function placeAfter(pass: Pass, page: Page, step: Step): Place | null {
  if (step !== 'walk') return null;
  if (page.nextCursor !== null) return { cursor: page.nextCursor, walk: pass.passWalk };
  return page.cursor === null ? null : { cursor: null, walk: pass.passWalk + 1 };
}

/**
 * What became of a walk's first page. It stands where it has the same keys: those that have no order of their own (equal
 * times, positions) may come in any. It grew where new keys stand in front of all that it can still show of its old ones,
 * in their order: those behind were pushed to pages that were read after it.
 */
export function compareHeads({ before, now }: Heads): 'stands' | 'grew' | 'moved' {
  const known = new Set(before);
  if (known.symmetricDifference(new Set(now)).size === 0) return 'stands';
  const fresh = now.findIndex((key) => known.has(key));
  const isPushed = fresh > 0 && now.slice(fresh).every((key, index) => key === before[index]);
  return isPushed && now.length >= before.length ? 'grew' : 'moved';
}
