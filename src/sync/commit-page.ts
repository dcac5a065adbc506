/**
 * The one place where synced data becomes durable: a page's rows, what was set aside of it, its counts and the next
 * cursor, in one transaction under the lease (promises 1 and 2).
 */
import { createHash } from 'node:crypto';
import { walkError } from '../calico/errors.ts';
import type { Page } from '../calico/pages.ts';
import { advance, type Pass } from '../db/checkpoints.ts';
import type { Database, Transaction } from '../db/client.ts';
import { NotNewError } from '../db/find-transactions.ts';
import { settleMet } from '../db/held-removals.ts';
import { holdLease, type Lease } from '../db/leases.ts';
import { CircleError, recordPage } from '../db/passes.ts';
import { addToReceipt, type Counts, noteInRun, type Run } from '../db/runs.ts';
import { markProvidersDown, type Quarantined, quarantine, resolveGone } from '../db/set-aside.ts';
import {
  isRefusedValue,
  type OpenWrite,
  openBisecting,
  openGlanced,
  openNew,
  openWhole,
  type WriteResult,
} from './open-page.ts';
import { placeAfter, type Step, stepOf } from './pass-step.ts';
import type { GlancedPage, PreparedPage, Refused } from './prepare.ts';
import { downIn, union } from './providers.ts';
import { hasReadAll, judgeRemovals } from './removals.ts';
import type { Stream } from './streams.ts';

export type PageCommit = {
  lease: Lease;
  run: Pick<Run, 'runId' | 'attempts' | 'waitingSince' | 'providersDown' | 'restarted'>;
  stream: Stream;
  pass: Pass;
  page: Page;
  read: PreparedPage | GlancedPage;
};

/** What the stream's receipt gained, and the pass as it goes on; null where it is over. */
export type Committed = { step: Step; counts: Counts; next: Pass | null };

/** A page on its way. Whoever has it must wait for `committed`. */
export type Landing = {
  /** The customer's row is this page's until it is committed: what asks for it from now on comes behind. Never rejects. */
  held: Promise<unknown>;
  /** Did the first attempt land? Else it is tried again with more care, or not at all. Never rejects. */
  whole: Promise<boolean>;
  committed: Promise<Committed>;
};

/**
 * Commits one page; at a second look at the first one, perhaps only that nothing has moved. Two round trips: what stands of
 * its keys, and what changes with what is known of the pass and the commit. One where its rows are taken for new; where they are not,
 * Postgres refuses and it is written the other way.
 * `before`: the page before it, where that is still on its way. This one is sent at once all the same, on another connection,
 * and waits there for the customer's row, so that Postgres goes on without waiting for us. Where it comes between two attempts of that
 * page it breaks the chain, is not tried again here, and must be committed anew.
 * It does not wait for the disk: what a crash of Postgres takes back it takes back whole, rows, counts and cursor, and the
 * run goes on from there. The run's end waits, and with it all that came before.
 * Where Postgres refuses a value, the page is written again in halves until the row is found; that row is quarantined
 * and the rest lands. The careful way costs a savepoint a half, so only a page that failed pays for it.
 * `committed` rejects with LeaseLostError, BrokenChainError, CalicoError where the pages run in a circle, DatabaseError for all but
 * refused values; and behind a page whose first attempt did not land with whatever its own failed with.
 */
export function commitPage(db: Database, commit: PageCommit, before: Landing | null = null): Landing {
  const { promise: held, resolve: onHeld } = Promise.withResolvers<unknown>();
  const attempt = (open: OpenWrite) =>
    db.transaction((tx) => commitIn(tx, commit, open, onHeld), { waitsForDisk: false });
  const { read } = commit;
  const first = firstWay(read);
  const tried = before ? before.held.then(() => attempt(first)) : attempt(first);
  const inHalves = async (error: unknown) => {
    if (!isRefusedValue(error)) throw error;
    return attempt(openBisecting('whole' in read ? await read.whole() : read, error));
  };
  const again = async (error: unknown) => {
    if (before && !(await before.whole)) throw error;
    const isNotNew =
      'writeNew' in read && read.writeNew !== null && (error instanceof NotNewError || isRefusedValue(error));
    return isNotNew ? attempt(openWhole(read)).catch(inHalves) : inHalves(error);
  };
  const committed = tried.catch(again).catch((error: unknown) => {
    throw error instanceof CircleError ? walkError(commit.stream.endpoint, error.message) : error;
  });
  const whole = tried.then(
    () => true,
    () => false,
  );
  return { held: Promise.race([held, whole]), whole, committed };
}

function firstWay(read: PageCommit['read']): OpenWrite {
  if ('whole' in read) return openGlanced(read);
  return read.writeNew ? openNew(read, read.writeNew) : openWhole(read);
}

async function commitIn(
  tx: Transaction,
  commit: PageCommit,
  open: OpenWrite,
  onHeld: (held: unknown) => void,
): Promise<Committed> {
  const { lease, run, stream, pass, page } = commit;
  const { customerId } = lease;
  const { passRunId, passWalk } = pass;
  const owner = { customerId, runId: run.runId, passRunId, walk: passWalk };
  // Not awaited here: where it fails, nothing behind it does anything.
  const hold = holdLease(tx, lease).then(onHeld);
  hold.catch(() => {});
  const { prepared, write } = await open(tx, owner);

  // A provider that could not be refreshed is missing from every page, whatever their codes say.
  const partial = page.partial || run.providersDown.length > 0;
  const sawNothing = page.cursor === null && page.records.length === 0;
  const isFirst = stream.hasWindow && pass.watermark === null;
  const soFar = { customerId, run, pass, isFirst, partial, moving: false, sawNothing };
  const step = await stepOf(tx, page, prepared.keys, soFar);
  if (page.partial) await Promise.all([hold, noteProvidersDown(tx, commit)]);
  const written = step === 'stands' ? null : await write();
  const to = placeAfter(pass, page, step);
  const ended = { ...soFar, moving: step === 'moving' };
  const settled = written && Promise.all([settlePage(tx, commit, prepared, written), hold, written.answered]);
  // Awaited only where something was set aside: what is known of the pass goes out with what was written else.
  const [known] = settled && prepared.refused.length + written.refused.length > 0 ? await settled : [0];
  const pages = written ? 1 : 0;
  const counts = written ? countsOf(page, prepared, written, known) : NOTHING;
  const { latest } = prepared;
  const sent = [
    hold,
    settled,
    addToReceipt(tx, run, stream.name, { pages, counts, end: to === null ? ended : null }),
  ];
  if (to === null && pass.passMode === 'full') {
    await Promise.all(sent);
    await judgeRemovals(tx, ended);
  }
  const streamOfRun = { customerId, runId: run.runId, stream: stream.name };
  const gone = to === null && hasReadAll(ended) && resolveGone(tx.orm, streamOfRun);
  const moved = advance(tx, lease, pass, { pages, latest, partial: partial || ended.moving, to });
  tx.commitWith(Promise.all([...sent, gone, moved]));
  const next = to && { ...pass, cursor: to.cursor, passWalk: to.walk, pagesDone: pass.pagesDone + pages };
  return { step, counts, next };
}

const NOTHING: Counts = {
  fetched: 0,
  inserted: 0,
  updated: 0,
  unchanged: 0,
  duplicates: 0,
  quarantined: 0,
};

function countsOf(
  page: Page,
  { duplicates, refused }: PreparedPage,
  written: WriteResult,
  known: number,
): Counts {
  const { inserted, updated } = written;
  const unchanged = written.unchanged + known;
  const quarantined = refused.length + written.refused.length - known;
  return { fetched: page.records.length, inserted, updated, unchanged, duplicates, quarantined };
}

/**
 * What a page that was written settles, what is set aside of it, and the record of its keys. Returns how many records
 * an earlier walk has set aside already: they are counted once, as those that have landed are.
 */
async function settlePage(
  tx: Transaction,
  { lease: { customerId }, run, stream, pass, page }: PageCommit,
  prepared: PreparedPage,
  written: WriteResult,
): Promise<number> {
  const { passRunId, pagesDone, passWalk: walk } = pass;
  const refused = [...prepared.refused, ...written.refused];
  const aside = new Set(refused.map(({ index }) => index));
  const landed = prepared.candidates.filter(({ index }) => !aside.has(index)).map(({ key }) => key);
  // What is set aside is at Calico all the same: no row of its key is missing.
  const met = [...landed, ...refused.flatMap(({ key }) => key ?? [])];
  const { cursor } = page;
  const seen = { page: pagesDone, cursor, keys: landed, head: cursor === null ? prepared.keys : null };
  const owner = { customerId, runId: run.runId, stream: stream.name, passRunId };
  const [, known] = await Promise.all([
    settleMet(tx, { customerId, stream: stream.name }, { landed, met }),
    quarantine(tx.orm, owner, evidence(page, refused)),
    recordPage(tx, { passRunId, stream: stream.name, walk }, seen),
  ]);
  return known;
}

/**
 * What the quarantine keeps: the source text under the record's own key. Without a key, and where the key is another
 * record's, the text's hash tells them apart.
 */
function evidence(page: Page, refused: readonly Refused[]): Quarantined[] {
  const byKey = new Map<string, Quarantined>();
  for (const { index, key, problems, inConflict } of refused) {
    const rawText = page.records.sourceOf(index);
    const hash = createHash('sha256').update(rawText).digest('hex').slice(0, 32);
    const known = byKey.get(key ?? '');
    const isTaken = inConflict || (known !== undefined && known.rawText !== rawText);
    const recordKey = key === null ? `text ${hash}` : isTaken ? `${key} ${hash}` : key;
    byKey.set(recordKey, { recordKey, rawText, problems });
  }
  return [...byKey.values()];
}

/** With the page, so that no run forgets that somebody was missing from it. */
async function noteProvidersDown(tx: Transaction, { lease, run, page }: PageCommit): Promise<void> {
  const causes = downIn(page);
  await markProvidersDown(tx.orm, lease.customerId, causes);
  const providersDown = union(run.providersDown, causes.keys());
  await noteInRun(tx.orm, run, { providersDown });
}
