/** `runs`: the latest runs and what they did. */
import { findCustomer } from '../db/customers.ts';
import { listRuns, type Receipt, type Run, readReceipts } from '../db/runs.ts';
import type { RunStatus } from '../db/statuses.ts';
import { unknownCustomer } from './customers.ts';
import { count, formatDuration, formatTime } from './format.ts';
import { type Colour, say, sayJson, sayTable } from './output.ts';
import { settings, withDatabase } from './session.ts';

export type RunWithReceipts = Run & { streams: Receipt[] };

/** Lists runs, the latest first, of one customer or of all. */
export async function list(
  customerId: string | null,
  { limit, json }: { limit: number; json?: boolean },
): Promise<void> {
  const runs = await withDatabase(settings('database'), (db) =>
    db.run(async (orm): Promise<RunWithReceipts[]> => {
      const found = await listRuns(orm, customerId, limit);
      // A customer that was removed has left its runs behind, so only an id without any may be a slip.
      if (customerId !== null && found.length === 0 && !(await findCustomer(orm, customerId))) {
        throw unknownCustomer(customerId);
      }
      return Promise.all(found.map(async (run) => ({ ...run, streams: await readReceipts(orm, run.runId) })));
    }),
  );
  if (json) return sayJson(runs);
  if (runs.length === 0) return say('There are no runs yet.');
  const now = Date.now();
  const sum = (
    run: RunWithReceipts,
    column: 'pages' | 'fetched' | 'inserted' | 'updated' | 'quarantined' | 'removed' | 'held',
  ) => String(run.streams.reduce((total, receipt) => total + receipt[column], 0));
  sayTable<RunWithReceipts>(
    [
      { title: 'customer', cell: (run) => shorten(run.customerId) },
      { title: 'mode', cell: (run) => run.mode },
      { title: 'status', cell: (run) => run.status, colour: (run) => runColour(run.status) },
      { title: 'started', cell: (run) => formatTime(run.startedAt, now) },
      { title: 'took', cell: (run) => took(run, now), align: 'right' },
      { title: 'pages', cell: (run) => sum(run, 'pages'), align: 'right' },
      { title: 'fetched', cell: (run) => sum(run, 'fetched'), align: 'right' },
      { title: 'new', cell: (run) => sum(run, 'inserted'), align: 'right' },
      { title: 'changed', cell: (run) => sum(run, 'updated'), align: 'right' },
      { title: 'quarantined', cell: (run) => sum(run, 'quarantined'), align: 'right' },
      { title: 'removed', cell: (run) => sum(run, 'removed'), align: 'right' },
      { title: 'held', cell: (run) => sum(run, 'held'), align: 'right' },
    ],
    runs,
    (run) => run.reason,
  );
}

/** One stream of a run: that what was fetched is accounted for, or that it is not. */
export function receiptLine(receipt: Receipt): string {
  const { stream, pages, fetched, inserted, updated, unchanged, duplicates, quarantined } = receipt;
  const parts = { inserted, updated, unchanged, duplicates, quarantined };
  const sum = Object.entries(parts).map(([name, number]) => `${number} ${name}`);
  const whole = receipt.moving ? 'read while it moved' : 'complete';
  const verdict = receipt.complete ? (receipt.balanced ? whole : 'DOES NOT BALANCE') : 'not at its end';
  return `${stream}: ${count(pages, 'page')}, ${fetched} fetched = ${sum.join(' + ')}; ${verdict}${goneFrom(receipt)}`;
}

/** What the pass did not see, where there is anything to say of it. */
function goneFrom({ removed, held, removalNote }: Receipt): string {
  const parts = [
    ...(removed > 0 ? [`${removed} removed`] : []),
    ...(held > 0 ? [`${count(held, 'removal')} held`] : []),
    ...(removalNote === null ? [] : [removalNote]),
  ];
  return parts.map((part) => `; ${part}`).join('');
}

export function runColour(status: RunStatus): Colour | null {
  if (status === 'succeeded') return 'green';
  if (status === 'running') return null;
  return status === 'partial' || status === 'waiting' ? 'yellow' : 'red';
}

function took({ startedAt, finishedAt }: Run, now: number): string {
  return formatDuration((finishedAt?.getTime() ?? now) - startedAt.getTime());
}

/** Ids can be long; `--json` and `customers show` have them whole. */
function shorten(id: string): string {
  return id.length <= 20 ? id : `${id.slice(0, 12)}…${id.slice(-6)}`;
}
