/** `quarantine list` and `show`: records that could not be read or stored. */
import { findQuarantined, listQuarantined, type QuarantinedListing } from '../db/quarantine.ts';
import type { Problem } from '../db/set-aside.ts';
import { failure } from './explain.ts';
import { count, formatTime } from './format.ts';
import { type Colour, note, paint, plain, say, sayJson, sayTable } from './output.ts';
import { settings, withDatabase } from './session.ts';

type ListOptions = { customer?: string; all?: boolean; limit: number; json?: boolean };

/** Lists records without their text, the latest seen first. */
export async function list({ customer, all = false, limit, json }: ListOptions): Promise<void> {
  const shown = { customerId: customer ?? null, all };
  const { records, total } = await withDatabase(settings('database'), (db) =>
    db.run((orm) => listQuarantined(orm, shown, limit)),
  );
  if (json) return sayJson(records);
  if (total === 0) {
    const of = customer === undefined ? '' : ` of ${plain(customer)}`;
    return say(`There are no ${all ? '' : 'unresolved '}quarantined records${of}.`);
  }
  const now = Date.now();
  sayTable<QuarantinedListing>(
    [
      { title: 'id', cell: (record) => record.id },
      { title: 'customer', cell: (record) => record.customerId },
      { title: 'stream', cell: (record) => record.stream },
      { title: 'state', cell: stateOf, colour: stateColour },
      { title: 'seen', cell: (record) => String(record.timesSeen), align: 'right' },
      { title: 'last seen', cell: (record) => formatTime(record.lastSeenAt, now) },
    ],
    records,
    ({ recordKey, problems }) => `${shorten(recordKey)}: ${inWords(problems)}`,
  );
  if (total > records.length) note(`${count(total - records.length, 'more record')}: --limit ${total}`);
  if (records.some(({ resolvedAt }) => resolvedAt === null)) note(NEXT);
}

const NEXT =
  'Next: calico-sync quarantine show <id>; when this version can read it, calico-sync quarantine replay <id>';

/** Shows one record: what is wrong with it, and its text as it came (control characters escaped; `--json` has them). */
export async function show(id: string, { json }: { json?: boolean }): Promise<void> {
  const record = await withDatabase(settings('database'), (db) => db.run((orm) => findQuarantined(orm, id)));
  if (!record) throw failure(`There is no quarantined record ${id}. calico-sync quarantine list shows all.`);
  if (json) return sayJson(record);
  const line = (label: string, value: string) => say(`${label.padEnd(12)}${plain(value)}`);
  line('customer', record.customerId);
  line('stream', record.stream);
  line('key', record.recordKey);
  say(`${'state'.padEnd(12)}${paint(stateColour(record), stateOf(record))}`);
  line('seen', count(record.timesSeen, 'time'));
  line('first seen', record.firstSeenAt.toISOString());
  line('last seen', record.lastSeenAt.toISOString());
  if (record.resolvedAt) line('resolved', record.resolvedAt.toISOString());
  line('run', record.runId);
  for (const problem of record.problems) line('problem', inWords([problem]));
  say('text');
  for (const text of record.rawText.split('\n')) say(plain(text));
}

/** "output.amount: is not a decimal number; …" */
export function inWords(problems: readonly Problem[]): string {
  return problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ');
}

type State = Pick<QuarantinedListing, 'resolvedAt' | 'resolution'>;

function stateOf({ resolvedAt, resolution }: State): string {
  return resolvedAt ? (resolution ?? 'resolved') : 'unresolved';
}

function stateColour({ resolvedAt }: State): Colour {
  return resolvedAt ? 'green' : 'yellow';
}

function shorten(key: string): string {
  return key.length <= 120 ? key : `${key.slice(0, 119)}…`;
}
