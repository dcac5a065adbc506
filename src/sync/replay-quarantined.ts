/**
 * Quarantined records read once more, with what this version knows, and written on the path of every page.
 *
 * A replay never takes the place of what Calico said later, or of another record (promise 7). It lands where
 * - no row has its key; or
 * - the row that has it is the same thing (account, time and hash, or a position's state), the record was set aside under
 *   exactly this key, and the row did not change since: had the key landed after it, the record would be resolved.
 * Everything else stays set aside; the next sync that meets the record reads it with today's code, too.
 */
import type { Page } from '../calico/pages.ts';
import { singleRecord } from '../calico/records.ts';
import type { Database, Orm, Transaction } from '../db/client.ts';
import { DatabaseError } from '../db/errors.ts';
import { forgetPass, recordPage } from '../db/passes.ts';
import {
  customersInQuarantine,
  findQuarantined,
  lockIdleCustomer,
  markReplayed,
  nextUnresolved,
  type QuarantinedRecord,
  standingRow,
  updateProblems,
} from '../db/quarantine.ts';
import { indexable, type Problem } from '../db/set-aside.ts';
import { STREAMS } from './streams.ts';

/** What is replayed: one record by its id, a customer's, or all. */
export type Choice = { id: string } | { customerId: string } | 'all';

export type Replayed = { id: string; customerId: string; recordKey: string } & (
  | { landed: true }
  /** `problems`: why it is set aside still. */
  | { landed: false; problems: Problem[] }
);

/** A customer whose records were left: `busy` where it is being synced, `unknown` where it was removed. */
export type Left = { customerId: string; left: 'busy' | 'unknown' };

/** So long holds a replay a customer's row: 100 records took 0.2 s. */
const BATCH = 100;

/** Replays what was chosen, customer by customer; unresolved records only. */
export async function* replayQuarantined(
  db: Database,
  choice: Choice,
  keepRaw: boolean,
): AsyncGenerator<Replayed | Left> {
  if (choice !== 'all' && 'id' in choice) {
    const record = await db.run((orm) => findQuarantined(orm, choice.id));
    if (!record || record.resolvedAt) return;
    const again = async (orm: Orm) => {
      const locked = await findQuarantined(orm, choice.id);
      return locked && !locked.resolvedAt ? [locked] : [];
    };
    yield* await replayBatch(db, record.customerId, again, keepRaw);
    return;
  }
  const customerIds = choice === 'all' ? await db.run(customersInQuarantine) : [choice.customerId];
  for (const customerId of customerIds) yield* replayCustomer(db, customerId, keepRaw);
}

async function* replayCustomer(
  db: Database,
  customerId: string,
  keepRaw: boolean,
): AsyncGenerator<Replayed | Left> {
  for (let after: string | null = null; ; ) {
    const next = after;
    const read = (orm: Orm) => nextUnresolved(orm, customerId, next, BATCH);
    const batch: (Replayed | Left)[] = await replayBatch(db, customerId, read, keepRaw);
    yield* batch;
    const last = batch.at(-1);
    if (!last || 'left' in last || batch.length < BATCH) return;
    after = last.id;
  }
}

async function replayBatch(
  db: Database,
  customerId: string,
  read: (orm: Orm) => Promise<QuarantinedRecord[]>,
  keepRaw: boolean,
): Promise<(Replayed | Left)[]> {
  return db.transaction(async (tx) => {
    const state = await lockIdleCustomer(tx.orm, customerId);
    const records = await read(tx.orm);
    if (state !== 'idle') return records.length > 0 ? [{ customerId, left: state }] : [];
    const replayed: Replayed[] = [];
    for (const record of records) replayed.push(await replayOne(tx, record, keepRaw));
    return replayed;
  });
}

async function replayOne(tx: Transaction, record: QuarantinedRecord, keepRaw: boolean): Promise<Replayed> {
  const { id, customerId, recordKey } = record;
  const problems = await land(tx, record, keepRaw);
  if (problems === null) {
    await markReplayed(tx.orm, id);
    return { id, customerId, recordKey, landed: true };
  }
  await updateProblems(tx.orm, id, problems);
  return { id, customerId, recordKey, landed: false, problems };
}

const problem = (message: string): Problem[] => [{ path: '', message }];

/** Writes the record; else says what is wrong with it. */
async function land(tx: Transaction, record: QuarantinedRecord, keepRaw: boolean): Promise<Problem[] | null> {
  const stream = STREAMS.find(({ name }) => name === record.stream);
  const page = pageOf(record.rawText);
  if (!stream || !page) return problem('its text is no JSON that can be read');
  const prepared = await stream.prepare(page, keepRaw, false);
  const [candidate] = prepared.candidates;
  if (!candidate) return prepared.refused.flatMap(({ problems }) => problems);

  const standing = await standingRow(tx, record, candidate.key);
  if (standing?.newer) return problem('a row with its key landed or changed since');
  if (standing && indexable(candidate.key) !== record.recordKey) {
    return problem('a row with its key is there, and may be another record or a later one');
  }
  // A pass of its own that has met this key: a row that is something else comes back as a conflict, as in any pass.
  const owner = { customerId: record.customerId, runId: record.runId, passRunId: record.id, walk: 0 };
  const seen = { page: 0, cursor: null, keys: [candidate.key], head: null };
  await recordPage(tx, { ...owner, stream: stream.name }, seen);
  const refusal = await tx
    .savepoint(async () => {
      const write = await prepared.look(tx, owner, [candidate]);
      const { conflicts, answered } = await write();
      await answered;
      return conflicts;
    })
    .then((conflicts) => (conflicts.length > 0 ? 'the row with its key is another record' : null))
    .catch((error: unknown) => {
      if (error instanceof DatabaseError && error.kind === 'data') return error.message;
      throw error;
    });
  await forgetPass(tx, owner.passRunId);
  return refusal === null ? null : problem(refusal);
}

/** The record as a page of one; null where its text cannot be parsed. */
function pageOf(rawText: string): Page | null {
  try {
    return { cursor: null, nextCursor: null, records: singleRecord(rawText), errors: [], partial: false };
  } catch {
    return null;
  }
}
