/** `removals …`: rows that Calico no longer shows, held back until a person decides. */
import { approveHold, type Decided, type HoldSeen, listHolds, rejectHold } from '../db/held-removals.ts';
import { failure } from './explain.ts';
import { count, formatTime } from './format.ts';
import { type Colour, note, plain, say, sayJson, sayTable } from './output.ts';
import { settings, withDatabase } from './session.ts';

/** Lists holds, the oldest first: those that wait for a decision, or all. */
export async function list({ all = false, json }: { all?: boolean; json?: boolean }): Promise<void> {
  const holds = await withDatabase(settings('database'), (db) => db.run((orm) => listHolds(orm, all)));
  if (json) return sayJson(holds);
  if (holds.length === 0) return say(all ? 'No removals were ever held.' : 'No removals are held.');
  const now = Date.now();
  sayTable<HoldSeen>(
    [
      { title: 'id', cell: (hold) => hold.holdId },
      { title: 'customer', cell: (hold) => hold.customerId },
      { title: 'stream', cell: (hold) => hold.stream },
      { title: 'state', cell: (hold) => hold.state, colour: (hold) => COLOURS[hold.state] },
      { title: 'held', cell: (hold) => formatTime(hold.createdAt, now) },
      { title: 'missing', cell: (hold) => String(hold.remainingRows), align: 'right' },
      { title: 'of', cell: (hold) => String(hold.liveRows), align: 'right' },
    ],
    holds,
    remark,
  );
  if (holds.some(({ state }) => state === 'open')) note(NEXT);
}

const NEXT = 'Next: calico-sync removals approve <id>, or reject <id>';

const COLOURS: Record<HoldSeen['state'], Colour | null> = {
  open: 'yellow',
  rejected: 'yellow',
  approved: null,
  superseded: null,
};

function remark({ reason, examples }: HoldSeen): string {
  const keys = examples.map((key) => key.filter((part) => part !== '').join(' ')).join(', ');
  return keys === '' ? reason : `${reason}: ${keys}, …`;
}

/** Marks the held rows removed. */
export async function approve(holdId: string): Promise<void> {
  const { hold, rows } = await decide(holdId, 'approved', approveHold);
  say(`Marked ${rowsOf(hold, rows)} removed. Should Calico show one again, it is live again.`);
}

/** Keeps the held rows. */
export async function reject(holdId: string): Promise<void> {
  const { hold, rows } = await decide(holdId, 'rejected', rejectHold);
  say(
    `Kept ${rowsOf(hold, rows)}. They are not asked about again unless Calico shows them and they go missing anew.`,
  );
}

async function decide(
  holdId: string,
  decision: 'approved' | 'rejected',
  apply: typeof approveHold,
): Promise<Decided> {
  const decided = await withDatabase(settings('database'), (db) =>
    db.transaction((tx) => apply(tx, holdId.toLowerCase())),
  );
  if (!decided) {
    throw failure(`There is no hold ${plain(holdId)}. calico-sync removals list shows those that are open.`);
  }
  if (decided.done) return decided;
  const why =
    decided.state === 'superseded'
      ? 'a later sync judged anew, or all of its rows came back'
      : `it was ${decided.state} before`;
  throw failure(`Hold ${plain(holdId)} cannot be ${decision}: ${why}. Next: calico-sync removals list --all`);
}

function rowsOf({ customerId, stream }: Decided['hold'], rows: number): string {
  return `${count(rows, stream === 'assets' ? 'position' : 'transaction')} of ${plain(customerId)}`;
}
