/**
 * Walks a stream's pages, two at a time: while one is read and written the next one is asked for, and sent to wait in Postgres behind it
 * as soon as it is read. They are committed in their order, and no third one is asked for before the first has landed.
 */
import { walkError } from '../calico/errors.ts';
import type { Page } from '../calico/pages.ts';
import type { Pass } from '../db/checkpoints.ts';
import type { Begun } from './ahead.ts';
import { type Committed, commitPage, type Landing, type PageCommit } from './commit-page.ts';
import { keepDrift } from './drift.ts';
import type { Outcome } from './outcome.ts';
import { isSecondLook } from './pass-step.ts';
import { downIn, union } from './providers.ts';
import { stopped } from './settle.ts';
import type { Stream } from './streams.ts';
import { giveWay, prolong, type Turn } from './turn.ts';

type Read = PageCommit['read'];

/** From where the pass is to its end (null), or to that of the turn. @throws what a page cannot go on with */
export async function walk(turn: Turn, stream: Stream, pass: Pass): Promise<Outcome | null> {
  const { deps, lease, courier } = turn;
  const { endpoint } = stream;
  const { pageLimit: limit, keepRaw } = deps.settings;
  let expectNew = pass.passWalk === 0 && pass.passLiveRows === 0;
  const fetch = (cursor: string | null): Promise<Page> =>
    courier.page({ endpoint, cursor, limit, startTime: pass.passStartTime });
  const readPage = async (page: Page): Promise<Read> => {
    const glanced = expectNew ? null : stream.glance(page, keepRaw);
    return glanced ?? stream.prepare(page, keepRaw, expectNew);
  };
  const commit = (at: Pass, page: Page, reading: Promise<Read>, before: Landing | null): Landing => {
    const sent = reading.then((read) =>
      commitPage(deps.db, { lease, run: turn.run, stream, pass: at, page, read }, before),
    );
    const committed = sent.then(async (landing) => {
      const done = await landing.committed;
      const told = done.step === 'stands' ? 'the first page stands' : 'page committed';
      turn.log.debug({ stream: stream.name, page: at.pagesDone, ...done.counts }, told);
      expectNew = isAllNew(done);
      noteProgress(turn, page);
      await keepDrift(turn);
      return done;
    });
    committed.catch(() => {}); // heard where it is waited for
    return {
      held: sent.then(({ held }) => held).catch(() => {}),
      whole: sent.then(({ whole }) => whole).catch(() => false),
      committed,
    };
  };
  let begun: Begun<Page> | null = null;
  let landing: Landing | null = null;
  let behind: Landing | null = null;
  try {
    for (let at = pass; ; ) {
      const page: Page = await (begun?.result() ?? fetch(at.cursor));
      if (at.pagesDone >= MAX_PAGES * (at.passWalk + 1))
        throw walkError(endpoint, `the pages have no end: ${MAX_PAGES} in one walk`);
      const { nextCursor } = page;
      turn.pagesLeft--;
      const reading = readPage(page);
      reading.catch(() => {}); // heard by its commit
      // Sent as soon as it is read.
      behind = landing && commit(at, page, reading, landing);
      const landed: boolean = landing === null || (await hasLanded(landing));
      if (landed) await prolong(turn);
      const mayBeLast = !landed || isSecondLook(at, page) || turn.pagesLeft <= 0 || turn.stop.aborted;
      // Asked for before this one is read to its end: where a worker has many customers, that waits for their pages.
      begun = nextCursor === null || mayBeLast ? null : await deps.begin(() => fetch(nextCursor));
      if (landing && behind) landing = await follow(landing, behind);
      behind = null;
      landing ??= commit(at, page, reading, null);
      // What a partial page says of its providers, the next one must know.
      if (begun?.goesOn && !page.partial) {
        at = { ...at, cursor: nextCursor, pagesDone: at.pagesDone + 1 };
        continue;
      }
      const { next }: Committed = await landing.committed;
      landing = null;
      if (next === null) return null;
      at = next;
      if (turn.stop.aborted || turn.pagesLeft <= 0) {
        await begun?.ended; // another worker may have the customer from then on
        return await (turn.stop.aborted ? stopped(turn) : giveWay(turn));
      }
    }
  } catch (error) {
    // What went wrong with an earlier page comes first.
    await landing?.committed;
    if (await landing?.whole) await behind?.committed;
    throw error;
  } finally {
    await Promise.all([begun?.ended, behind && hasLanded(behind)]);
  }
}

const hasLanded = ({ committed }: Landing): Promise<boolean> =>
  committed.then(
    () => true,
    () => false,
  );

/** Waits for the page before one that was sent behind it. Null: this one came between two attempts of that, and did not follow. */
async function follow(before: Landing, landing: Landing): Promise<Landing | null> {
  const isWhole = await before.committed.then(() => before.whole).catch(() => false);
  if (isWhole) return landing;
  const follows = await hasLanded(landing);
  await before.committed;
  return follows ? landing : null;
}

/** Was nothing of a page known before? The next one's records are likely to be new as well, until its walk ends. */
function isAllNew({ counts, next }: Committed): boolean {
  return next?.passWalk === 0 && counts.inserted > 0 && counts.updated + counts.unchanged === 0;
}

/** A walk this long is one that never ends: ten million records at 100 a page. */
const MAX_PAGES = 100_000;

/** What a committed page changes of the run; the same stands in Postgres already. */
function noteProgress(turn: Turn, page: Page): void {
  const providersDown = union(turn.run.providersDown, downIn(page).keys());
  turn.run = { ...turn.run, attempts: 0, failures: {}, waitingSince: null, waitingFor: null, providersDown };
}
