/**
 * The one place where synced data becomes durable: a page's rows, what was set aside of it, its counts and the next
 * cursor, in one transaction under the lease (promises 1 and 2).
 */
import { createHash } from 'node:crypto';
import { walkError } from '../calico/errors.ts';
import type { Page } from '../calico/pages.ts';
import { advance, type Pass } from '../db/checkpoints.ts';
import type { Database, Transaction } from '../db/client.ts';
import { DatabaseError } from '../db/errors.ts';
import { settleMet } from '../db/held-removals.ts';
import { holdLease, type Lease } from '../db/leases.ts';
import { recordPage } from '../db/passes.ts';
import { addToReceipt, type Counts, noteInRun, type Run } from '../db/runs.ts';
import { markProvidersDown, type Quarantined, quarantine, resolveGone } from '../db/set-aside.ts';
import type { PageOwner } from '../db/transactions.ts';
import { placeAfter, type Step, stepOf } from './pass-step.ts';
import { downIn, union } from './providers.ts';
import { hasReadAll, judgeRemovals } from './removals.ts';
import type { Candidate, PreparedPage, Refused, Stream, StreamWritten } from './streams.ts';

export type PageCommit = {
  lease: Lease;
  run: Pick<Run, 'runId' | 'attempts' | 'waitingSince' | 'providersDown' | 'restarted'>;
  stream: Stream;
  pass: Pass;
  page: Page;
  prepared: PreparedPage;
};

/** What the stream's receipt gained, and the pass as it goes on; null where it is over. */
export type Committed = { step: Step; counts: Counts; next: Pass | null };

/**
 * Commits one page; at a second look at the first one, perhaps only that nothing has moved. Three round trips: what stands of
 * its keys, what changes with what is known of the pass, and the commit.
 * It does not wait for the disk: what a crash of Postgres takes back it takes back whole, rows, counts and cursor, and the
 * run goes on from there. The run's end waits, and with it all that came before.
 * Where Postgres refuses a value, the page is written again in halves until the row is found; that row is quarantined
 * and the rest lands. The careful way costs a savepoint a half, so only a page that failed pays for it.
 * @throws LeaseLostError, CalicoError where the pages run in a circle, DatabaseError for all but refused values.
 */
export async function commitPage(db: Database, commit: PageCommit): Promise<Committed> {
  const attempt = (open: OpenWrite) =>
    db.transaction((tx) => commitIn(tx, commit, open), { waitsForDisk: false });
  try {
    return await attempt(openWhole);
  } catch (error) {
    if (!isRefusedValue(error)) throw error;
    return attempt(openBisecting(error));
  }
}

type WriteResult = StreamWritten & { refused: Refused[] };
type Write = () => Promise<WriteResult>;
/** Looks at what the page meets, in one statement at most; what it returns writes the page. */
type OpenWrite = (tx: Transaction, owner: PageOwner, prepared: PreparedPage) => Promise<Write>;

async function commitIn(tx: Transaction, commit: PageCommit, open: OpenWrite): Promise<Committed> {
  const { lease, run, stream, pass, page, prepared } = commit;
  const { customerId } = lease;
  const { passRunId, passWalk } = pass;
  const owner = { customerId, runId: run.runId, passRunId, walk: passWalk };
  const [, write] = await Promise.all([holdLease(tx, lease), open(tx, owner, prepared)]);

  // A provider that could not be refreshed is missing from every page, whatever their codes say.
  const partial = page.partial || run.providersDown.length > 0;
  const sawNothing = page.cursor === null && page.records.length === 0;
  const isFirst = stream.hasWindow && pass.watermark === null;
  const soFar = { customerId, run, pass, isFirst, partial, moving: false, sawNothing };
  const step = await stepOf(tx, page, prepared.keys, soFar);
  if (page.partial) await noteProvidersDown(tx, commit);
  const written = step === 'stands' ? null : await write();
  const to = placeAfter(pass, page, step);
  const ended = { ...soFar, moving: step === 'moving' };
  const settled = written && Promise.all([settlePage(tx, commit, written), written.answered]);
  // Awaited only where something was set aside: what is known of the pass goes out with what was written else.
  const [known] = settled && prepared.refused.length + written.refused.length > 0 ? await settled : [0];
  const pages = written ? 1 : 0;
  const counts = written ? countsOf(page, prepared, written, known) : NOTHING;
  const { latest } = prepared;
  const goOn = () => advance(tx, lease, pass, { pages, latest, partial: partial || ended.moving, to });
  await Promise.all([
    settled,
    addToReceipt(tx, run, stream.name, { pages, counts, end: to === null ? ended : null }),
    to && goOn(),
  ]);
  if (to === null) {
    await judgeRemovals(tx, ended);
    if (hasReadAll(ended)) await resolveGone(tx.orm, { customerId, runId: run.runId, stream: stream.name });
    await goOn();
  }
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
  { lease: { customerId }, run, stream, pass, page, prepared }: PageCommit,
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
  const [, known, isRecorded] = await Promise.all([
    settleMet(tx, { customerId, stream: stream.name }, { landed, met }),
    quarantine(tx.orm, owner, evidence(page, refused)),
    recordPage(tx, { passRunId, stream: stream.name, walk }, seen),
  ]);
  if (isRecorded) return known;
  const circle = 'the pages run in a circle: a cursor came back that this pass has been at';
  throw walkError(stream.endpoint, circle);
}

const openWhole: OpenWrite = async (tx, owner, prepared) => {
  const write = await prepared.look(tx, owner, prepared.candidates);
  return async () => withConflicts(prepared, await write());
};

/**
 * Finds the refused rows one after the other. Where Postgres names the row, those without it are tried first: two attempts
 * for one poisoned row of a hundred. Else, of candidates that fail together the first half is tried: where it is
 * sound it is written, and the fault is in the second, else the fault is in it. What follows a row that was found is tried
 * as a whole again, so that it costs nine.
 */
const openBisecting =
  (refusal: DatabaseError): OpenWrite =>
  async (tx, owner, prepared) =>
  async () => {
    let written: WriteResult = { ...NONE_WRITTEN, refused: [] };
    const attempt = async (candidates: readonly Candidate[]): Promise<DatabaseError | null> => {
      try {
        const more = await tx.savepoint(async () => {
          const write = await prepared.look(tx, owner, candidates);
          const landed = await write();
          await landed.answered;
          return landed;
        });
        written = merge(written, withConflicts(prepared, more));
        return null;
      } catch (error) {
        if (isRefusedValue(error)) return error;
        throw error;
      }
    };

    // All together failed already: that is why they are here.
    let left: readonly Candidate[] = prepared.candidates;
    const suspects = new Set<Candidate>();
    for (let error: DatabaseError | null = refusal; error; ) {
      const { customerId } = owner;
      const others = left.filter((candidate) => !suspects.has(candidate));
      const named = others.filter(({ key }) =>
        error?.mayMean([customerId, ...(JSON.parse(key) as string[])]),
      );
      if (named.length === 0) break;
      for (const candidate of named) suspects.add(candidate);
      error = await attempt(others.filter((candidate) => !suspects.has(candidate)));
      if (!error) left = [...suspects];
    }
    do {
      let faulty = left;
      while (faulty.length > 1) {
        const half = faulty.slice(0, Math.ceil(faulty.length / 2));
        const isSound = (await attempt(half)) === null;
        if (isSound) left = left.slice(half.length);
        faulty = isSound ? faulty.slice(half.length) : half;
      }
      const [only] = faulty;
      const error = await attempt(faulty);
      if (error && only) written = merge(written, poison(only, error));
      left = left.slice(1);
    } while (left.length > 0 && (await attempt(left)) !== null);
    return written;
  };

function isRefusedValue(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && error.kind === 'data';
}

const NONE_WRITTEN: StreamWritten = {
  inserted: 0,
  updated: 0,
  unchanged: 0,
  conflicts: [],
  answered: Promise.resolve(),
};

function poison({ index, key }: Candidate, error: DatabaseError): WriteResult {
  const problems = [{ path: '', message: error.message }];
  const refused = [{ index, key, problems, inConflict: false }];
  return { ...NONE_WRITTEN, refused };
}

function withConflicts({ conflict }: PreparedPage, written: StreamWritten): WriteResult {
  const problems = [{ path: '', message: conflict }];
  return { ...written, refused: written.conflicts.map((at) => ({ ...at, problems, inConflict: true })) };
}

function merge(a: WriteResult, b: WriteResult): WriteResult {
  return {
    inserted: a.inserted + b.inserted,
    updated: a.updated + b.updated,
    unchanged: a.unchanged + b.unchanged,
    answered: a.answered,
    conflicts: [...a.conflicts, ...b.conflicts],
    refused: [...a.refused, ...b.refused],
  };
}

/**
 * What the quarantine keeps: the source text under the record's own key. Without a key, and where the key is another
 * record's, the text's hash tells them apart.
 */
function evidence(page: Page, refused: readonly Refused[]): Quarantined[] {
  const byKey = new Map<string, Quarantined>();
  for (const { index, key, problems, inConflict } of refused) {
    const rawText = page.sourceOf(index);
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
