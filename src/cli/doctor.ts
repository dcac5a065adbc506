/** `doctor`: everything that a sync needs, looked at once; it goes on where one thing fails. */
import { type Config, ConfigError, type SectionName } from '../config.ts';
import { type Database, openDatabase } from '../db/client.ts';
import { type KnownDrift, listDrift } from '../db/drift.ts';
import { readOverview } from '../db/situation.ts';
import {
  type Check,
  checkCalico,
  checkCustomers,
  checkDrift,
  checkKeys,
  checkOverview,
  checkPostgres,
  checkQueue,
  driftRemark,
  failing,
  ok,
  type State,
} from './doctor-checks.ts';
import { explain, failure } from './explain.ts';
import { count, formatTime } from './format.ts';
import { type Colour, paint, plain, say, sayJson, sayTable } from './output.ts';
import { settings } from './session.ts';
import { OVERDUE_MS } from './why-story.ts';

type Findings = { checks: Check[]; drift: KnownDrift[] };

/** Checks everything, and fails where a check does. */
export async function runDoctor({ json }: { json?: boolean }): Promise<void> {
  const { checks, drift } = await examine();
  if (json) sayJson({ checks, drift });
  else sayFindings({ checks, drift });
  const failed = checks.filter(({ state }) => state === 'failure');
  const [first] = failed;
  if (!first) return;
  // Without a step of its own, what it says ends with one.
  const next = first.next ? ` Next: ${first.next}` : ` ${first.says}`;
  throw failure(
    `${count(failed.length, 'check')} failed: ${failed.map(({ name }) => name).join(', ')}.${next}`,
  );
}

async function examine(): Promise<Findings> {
  const checks: Check[] = [checkSettings()];
  const note = async (name: string, work: () => Promise<Check[]>): Promise<Check[]> => {
    const done = await work().catch(async (error) => [failing(name, await explain(error), null)]);
    checks.push(...done);
    return done;
  };
  const drift: KnownDrift[] = [];
  const database = section('database');
  const queue = section('queue');
  const calico = section('calico');
  if (database) {
    const db = openDatabase({ url: database.database.DATABASE_URL, maxConnections: 2 });
    try {
      const state = await note('Postgres', () => checkPostgres(db, Date.now));
      if (state.every((check) => check.state !== 'failure')) drift.push(...(await examineTables(db, note)));
    } finally {
      await db.close();
    }
  }
  if (queue) await note('queue', () => checkQueue(queue));
  if (calico) await note('Calico', () => checkCalico(calico, Date.now));
  return { checks, drift };
}

/** What only a migrated database can tell. */
async function examineTables(
  db: Database,
  note: (name: string, work: () => Promise<Check[]>) => Promise<Check[]>,
): Promise<KnownDrift[]> {
  const credentials = section('credentials');
  if (credentials) await note('keys', () => checkKeys(db, credentials));
  await note('customers', () => checkCustomers(db));
  await note('schedule', async () =>
    checkOverview(await db.run((orm) => readOverview(orm, OVERDUE_MS)), Date.now()),
  );
  const drift: KnownDrift[] = [];
  await note('contract', async () => {
    drift.push(...(await db.run(listDrift)));
    return [checkDrift(drift)];
  });
  return drift;
}

const SECTIONS = ['database', 'queue', 'credentials', 'calico', 'sync', 'worker', 'events', 'log'] as const;

function checkSettings(): Check {
  try {
    settings(...SECTIONS);
    return ok('settings', 'complete');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return failing('settings', error.faults.join('; '), 'see "Settings" in README.md');
  }
}

/** A section whose settings are right, whatever is wrong with the others. */
function section<Name extends SectionName>(name: Name): Config<Name> | null {
  try {
    return settings(name);
  } catch (error) {
    if (error instanceof ConfigError) return null;
    throw error;
  }
}

const COLOURS: Record<State, Colour> = { ok: 'green', warning: 'yellow', failure: 'red' };

function sayFindings({ checks, drift }: Findings): void {
  const width = Math.max(...checks.map(({ name }) => name.length));
  for (const { name, state, says, next } of checks) {
    say(`${paint(COLOURS[state], state.padEnd(7))}  ${name.padEnd(width)}  ${plain(says)}`);
    if (next) say(`${' '.repeat(width + 11)}Next: ${plain(next)}`);
  }
  if (drift.length === 0) return;
  const now = Date.now();
  say('');
  sayTable<KnownDrift>(
    [
      { title: 'endpoint', cell: ({ endpoint }) => endpoint },
      { title: 'differs', cell: ({ kind }) => kind.replace('_', ' ') },
      { title: 'where', cell: ({ path }) => path || 'the answer' },
      { title: 'times', cell: (row) => row.count.toLocaleString('en-US'), align: 'right' },
      { title: 'first seen', cell: (row) => formatTime(row.firstSeenAt, now) },
      { title: 'last seen', cell: (row) => formatTime(row.lastSeenAt, now) },
    ],
    drift,
    driftRemark,
  );
}
