/** What is watched while the soak lasts, and what each of it may be at the end. */
import type pg from 'pg';
import type { Series } from './judge.ts';
import type { ProcessSample } from './process.ts';
import type { QueueSample } from './queues.ts';

export type TableSample = { rows: number; dead: number; bytes: number };

export type Sample = {
  atMs: number;
  worker: ProcessSample;
  queue: QueueSample;
  /** The worker's, of its pool and its queue; the soak's own are not counted. */
  postgresConnections: number;
  /** Runs that have ended. */
  syncs: number;
  tables: Record<string, TableSample>;
};

/** The name that the soak's own connections go by. */
export const OWN_NAME = 'calico-sync soak';

/** A row or more a run, a change or a failure, and nothing takes it away within the hour: rows are not judged, their size is. */
export const GROWING: readonly string[] = [
  ...['sync_runs', 'sync_run_streams', 'asset_position_history', 'event_outbox'],
  ...['quarantined_records', 'dead_letters', 'held_removals', 'contract_drift'],
];
/** Of these one kind's rows are another's after a re-categorisation: they are judged together. */
const TRANSACTIONS = /_transactions$/;

/** Rows are counted, not estimated: a vacuum's estimate of a small table is wrong by more than what is looked for. */
export async function sampleTables(pool: pg.Pool): Promise<Record<string, TableSample>> {
  const { rows: found } = await pool.query<{ name: string; dead: string; bytes: string }>(
    `SELECT relname AS name, n_dead_tup AS dead, pg_total_relation_size(relid) AS bytes
     FROM pg_stat_user_tables WHERE schemaname = 'calico' ORDER BY 1`,
  );
  const counts = found.map(({ name }) => `SELECT '${name}' AS name, count(*) AS rows FROM calico.${name}`);
  const { rows } = await pool.query<{ name: string; rows: string }>(counts.join(' UNION ALL '));
  const rowsOf = new Map(rows.map(({ name, rows: count }) => [name, Number(count)]));
  const tables: Record<string, TableSample> = {};
  for (const { name, dead, bytes } of found) {
    const group = TRANSACTIONS.test(name) ? 'six transaction tables' : name;
    const so = tables[group] ?? { rows: 0, dead: 0, bytes: 0 };
    const more = { rows: rowsOf.get(name) ?? 0, dead: Number(dead), bytes: Number(bytes) };
    tables[group] = { rows: so.rows + more.rows, dead: so.dead + more.dead, bytes: so.bytes + more.bytes };
  }
  return tables;
}

const TENTH = { share: 0.1, slack: 0 };
const THREE = { share: 0, slack: 3 };
const FIVE = { share: 0, slack: 5 };
/** A table that is rewritten all the time has a high-water mark, in pages of 8 KiB; a little of it is no bloat. */
const TABLE_SLACK_KB = 256;

/** Percent. A vacuum comes once a minute, after a fifth of a table is dead: what is sampled is a sawtooth of that height. */
const DEAD_SLACK = 5;

/**
 * All series with their bounds. Memory: 10 % and nothing besides. Connections: three, and handles five, for sockets come and
 * go with the load; it is less than one left behind by each trouble of the same kind would make. Keys: a tenth and ten, for
 * jobs come and go too. A table that does not grow: 10 % of its size on disk, indexes included. One that does: 10 % of the
 * bytes a row.
 */
export function seriesOf(samples: readonly Sample[]): Series[] {
  type At = (sample: Sample) => number | null;
  const series = (name: string, unit: string, bound: Series['bound'], at: At): Series => ({
    ...{ name, unit, bound, by: 'median', values: samples.map(at) },
  });
  const names = Object.keys(samples.at(-1)?.tables ?? {}).toSorted();
  const heap = series('worker: heap after a full collection', 'MB', TENTH, ({ worker }) => worker.heapMb);
  return [
    series('worker: resident memory', 'MB', TENTH, ({ worker }) => worker.rssMb),
    { ...heap, by: 'least' },
    series('worker: open handles', '', FIVE, ({ worker }) => worker.handles),
    series('connections to Postgres', '', THREE, (sample) => sample.postgresConnections),
    series('connections to Redis', '', THREE, ({ queue }) => queue.connections),
    series('queue: keys', '', { ...TENTH, slack: 10 }, ({ queue }) => keysOf(queue)),
    series('queue: memory', 'MB', { ...TENTH, slack: 1 }, ({ queue }) => queue.memoryMb),
    series('dead rows of all tables', '% of all', { ...TENTH, slack: DEAD_SLACK }, ({ tables }) =>
      deadShare(tables),
    ),
    ...names.map((name) => {
      const table = ({ tables }: Sample) => tables[name] ?? { rows: 0, dead: 0, bytes: 0 };
      return GROWING.includes(name)
        ? series(`${name}, a row`, 'bytes', TENTH, (sample) => perRow(table(sample)))
        : series(name, 'KB', { ...TENTH, slack: TABLE_SLACK_KB }, (sample) => table(sample).bytes / 1024);
    }),
  ];
}

/** Null of a table too small to say: its first pages are most of it. */
function perRow({ rows, bytes }: TableSample): number | null {
  return rows < 500 ? null : bytes / rows;
}

function deadShare(tables: Sample['tables']): number {
  const sum = (of: keyof TableSample) => Object.values(tables).reduce((total, table) => total + table[of], 0);
  return (100 * sum('dead')) / (sum('dead') + sum('rows'));
}

function keysOf({ keys }: QueueSample): number {
  return Object.values(keys).reduce((sum, count) => sum + count, 0);
}
