/** Promise 6: what a full pass did not see may be gone at Calico. Who may say so, and how much at once. */
import { randomUUID } from 'node:crypto';
import type { Pass } from '../db/checkpoints.ts';
import type { Transaction } from '../db/client.ts';
import { holdStaged, supersedeOpen } from '../db/held-removals.ts';
import { isAnyMissing, noteRemovals, removeStagedRows, stageMissingRows } from '../db/removals.ts';
import { type Receipt, type Run, readReceipts } from '../db/runs.ts';
import { isAnyGone } from '../db/set-aside.ts';

export type EndedPass = {
  customerId: string;
  run: Pick<Run, 'runId' | 'restarted'>;
  pass: Pass;
  /** Has a stream with times never been read whole? Then this pass reads everything, and so does the next unless this one is whole. */
  isFirst: boolean;
  /** Was a provider missing from the refresh or from any page, the last included? */
  partial: boolean;
  /** Did records change places in every walk? */
  moving: boolean;
  /** Was its last walk one page, and that one empty? */
  sawNothing: boolean;
};

/**
 * Judges the customer's live rows at the end of a pass, in the transaction of its last page: after the page is in the
 * receipt and before the record of what was seen goes. A pass that proves nothing removes nothing and says why; an
 * incremental one is not even asked.
 */
export async function judgeRemovals(tx: Transaction, ended: EndedPass): Promise<void> {
  const { customerId, run, pass } = ended;
  if (pass.passMode !== 'full') return;
  const { runId } = run;
  const { stream, passRunId, passLiveRows: liveRows } = pass;
  const receipt = await receiptOf(tx, ended);
  const doubts = doubtsAbout(ended, receipt);
  if (doubts.length > 0 || liveRows === null) {
    const removalNote = `not looked for removals: ${doubts.join(', ')}`;
    return noteRemovals(tx.orm, runId, stream, { removalNote });
  }
  if (liveRows === 0) return;

  const owner = { customerId, stream };
  const holdId = randomUUID();
  const missing = await stageMissingRows(tx, owner, passRunId, holdId);
  const reason = reasonToHold(missing, liveRows, ended.sawNothing);
  if (reason !== null) {
    await holdStaged(tx, owner, { holdId, runId, heldRows: missing, liveRows, reason });
    return noteRemovals(tx.orm, runId, stream, { held: missing });
  }
  await supersedeOpen(tx, owner);
  if (missing === 0) return;
  const removed = await removeStagedRows(tx, owner, holdId, runId);
  return noteRemovals(tx.orm, runId, stream, { removed });
}

/** Would rows or quarantined records be taken for gone, although one that changed its place meanwhile looks like them? */
export async function isAbsenceUnproven(tx: Transaction, ended: EndedPass): Promise<boolean> {
  const { customerId, run, pass } = ended;
  const { stream, passRunId, passLiveRows } = pass;
  if (!hasReadAll(ended)) return false;
  if (await isAnyGone(tx.orm, { customerId, runId: run.runId, stream })) return true;
  if (!passLiveRows || doubtsAbout(ended, await receiptOf(tx, ended)).length > 0) return false;
  return isAnyMissing(tx, { customerId, stream }, passRunId);
}

/** Everything there is, within one run, with no provider missing and nothing on the move: what it did not meet is gone. */
export function hasReadAll({ run, pass, partial, moving }: EndedPass): boolean {
  const isWhole = pass.passMode === 'full' && pass.passStartTime === null && pass.passRunId === run.runId;
  return isWhole && !partial && !moving;
}

async function receiptOf(tx: Transaction, { run, pass }: EndedPass): Promise<Receipt | undefined> {
  return (await readReceipts(tx.orm, run.runId)).find((one) => one.stream === pass.stream);
}

/**
 * Why rows do not go without a person's word; null where they may. At most 20 or a tenth go at once, whichever is more;
 * and a pass that read nothing at all is likelier to be an answer gone wrong than a customer who has nothing left.
 */
function reasonToHold(missing: number, liveRows: number, sawNothing: boolean): string | null {
  const most = Math.max(20, Math.floor(liveRows / 10));
  if (missing > most) {
    return `${missing} of ${liveRows} rows were missing; more than ${most} do not go unasked`;
  }
  return missing > 0 && sawNothing ? `Calico showed no record at all, and ${liveRows} before` : null;
}

/** Why a full pass says nothing about what it did not see; empty where it does. */
function doubtsAbout({ run, pass, partial, moving }: EndedPass, receipt: Receipt | undefined): string[] {
  const doubts: [boolean, string][] = [
    [pass.passRunId !== run.runId, 'the pass was begun by an earlier run'],
    [pass.passStartTime !== null, 'the pass had a time window'],
    [pass.passLiveRows === null, 'the pass was begun by an earlier version'],
    [partial || pass.passPartial, 'a provider was down'],
    [moving, 'the records were moving'],
    [run.restarted.includes(pass.stream), 'the pages were started over'],
    [receipt === undefined || receipt.quarantined > 0, 'records were quarantined'],
    [receipt?.balanced !== true, 'the receipt does not balance'],
  ];
  return doubts.filter(([applies]) => applies).map(([, doubt]) => doubt);
}
