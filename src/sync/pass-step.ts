/**
 * Where a pass stands with a page: within a walk, at its end, or looking at the first page once more. Calico's records may
 * come, go and change places while their pages are walked. What comes later is the next run's; but a record that went
 * from pages that were still to come to pages that were done was never met, and would be taken for one that is gone. So
 * after the last page of several the first is asked for again, and where it moved the pages are walked again. A walk of a
 * single page shows one moment of Calico's, and needs none of this.
 */
import type { Page } from '../calico/pages.ts';
import type { Pass, Place } from '../db/checkpoints.ts';
import type { Transaction } from '../db/client.ts';
import { type Heads, readHeads } from '../db/passes.ts';
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
  if (change !== 'moved' && !(await isAbsenceUnproven(tx, ended))) return change;
  return passWalk < MAX_WALKS ? 'walk' : 'moving';
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
