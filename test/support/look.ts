/** What tests look at in Postgres. */
import type { Receipt, Run } from '../../src/db/runs.ts';
import { TRANSACTION_KINDS } from '../../src/db/schema.ts';
import { waitFor } from './wait-for.ts';
import type { World } from './world.ts';

export const DATA_TABLES = [
  'asset_positions',
  'asset_position_history',
  ...TRANSACTION_KINDS.map((kind) => `${kind}_transactions`),
  'transaction_fees',
];

/** What differs between two runs that wrote the same: whose, when, by which run. */
const INCIDENTAL = '{customer_id,first_seen_at,last_changed_at,last_run_id,valid_from,valid_to}';

/** Every data row of a customer in a canonical order, without what is incidental. */
export async function dataOf(world: World, customerId: string): Promise<Record<string, string[]>> {
  const tables = DATA_TABLES.map(async (table) => {
    const rows = await world.rows<{ text: string }>(
      `SELECT (to_jsonb(t) - $2::text[])::text AS text FROM calico.${table} t WHERE customer_id = $1 ORDER BY 1`,
      [customerId, INCIDENTAL],
    );
    return [table, rows.map(({ text }) => text)] as const;
  });
  return Object.fromEntries(await Promise.all(tables));
}

/** Every row of every data table with its physical version: equal only where nothing was touched. */
export async function versionsOf(world: World, customerId: string): Promise<string[]> {
  const selects = DATA_TABLES.map(
    (table) =>
      `SELECT '${table} ' || ctid || ' ' || xmin || ' ' || to_jsonb(t)::text AS text FROM calico.${table} t WHERE customer_id = $1`,
  );
  const rows = await world.rows<{ text: string }>(`${selects.join(' UNION ALL ')} ORDER BY 1`, [customerId]);
  return rows.map(({ text }) => text);
}

/** Transactions that are in more than one of the six tables: promise 7 says that there are none. */
export async function transactionsWithManyHomes(world: Pick<World, 'rows'>): Promise<object[]> {
  return world.rows(
    `SELECT customer_id, provider_id, transaction_id, array_agg(kind) AS homes FROM calico.transactions
     GROUP BY 1, 2, 3 HAVING count(*) > 1`,
  );
}

export type RunSeen = Pick<Run, 'mode' | 'trigger' | 'status' | 'reason' | 'attempts'> & { run_id: string };

/** A customer's runs, the first first. */
export async function runsOf(world: World, customerId: string): Promise<RunSeen[]> {
  return world.rows(
    `SELECT run_id, mode, trigger, status, reason, attempts FROM calico.sync_runs WHERE customer_id = $1
     ORDER BY started_at`,
    [customerId],
  );
}

type Counters = Pick<
  Receipt,
  | 'pages'
  | 'fetched'
  | 'inserted'
  | 'updated'
  | 'unchanged'
  | 'duplicates'
  | 'quarantined'
  | 'complete'
  | 'balanced'
>;

/** A run's receipt of one stream. */
export async function receiptOf(
  world: World,
  runId: string,
  stream: 'assets' | 'transactions',
): Promise<Counters> {
  const [receipt] = await world.rows<Counters>(
    `SELECT pages, fetched, inserted, updated, unchanged, duplicates, quarantined, complete, balanced
     FROM calico.sync_run_streams WHERE run_id = $1 AND stream = $2`,
    [runId, stream],
  );
  if (!receipt) throw new Error(`run ${runId} has no receipt for ${stream}`);
  return receipt;
}

/** What a run's receipt says of the rows that its pass of a stream did not see. */
export async function removalsOf(
  world: World,
  runId: string,
  stream: 'assets' | 'transactions',
): Promise<{ removed: number; held: number; note: string | null }> {
  const [said] = await world.rows<{ removed: number; held: number; note: string | null }>(
    'SELECT removed, held, removal_note AS note FROM calico.sync_run_streams WHERE run_id = $1 AND stream = $2',
    [runId, stream],
  );
  if (!said) throw new Error(`run ${runId} has no receipt for ${stream}`);
  return said;
}

const FIRST = 'first page';

/**
 * Fetched pages by endpoint, walk and cursor, with how often each was asked for. After a later page that was answered the
 * first one is looked at again: `first page, look 2` begins the second walk, or finds that there need be none.
 */
export function fetchesOf(world: World, customerId: string): Map<string, number> {
  const fetches = new Map<string, number>();
  const before = new Map<string, { walk: number; isLaterAnswered: boolean }>();
  for (const { endpoint, query, status } of world.sandbox.requestsFor({ customerId, method: 'GET' })) {
    const last = before.get(endpoint) ?? { walk: 1, isLaterAnswered: false };
    const cursor = query['cursor'];
    const walk = cursor === undefined && last.isLaterAnswered ? last.walk + 1 : last.walk;
    const page = `${cursor ?? FIRST}${walk === 1 ? '' : `, look ${walk}`}`;
    fetches.set(`${endpoint} ${page}`, (fetches.get(`${endpoint} ${page}`) ?? 0) + 1);
    before.set(endpoint, { walk, isLaterAnswered: cursor !== undefined && status === 200 });
  }
  return fetches;
}

/** The kind that the view gives for each transaction id. */
export async function homesOf(world: World, customerId: string): Promise<Record<string, string>> {
  const rows = await world.rows<{ transaction_id: string; kind: string }>(
    'SELECT transaction_id, kind FROM calico.transactions WHERE customer_id = $1 ORDER BY 1',
    [customerId],
  );
  return Object.fromEntries(rows.map(({ transaction_id, kind }) => [transaction_id, kind]));
}

export type CustomerSeen = {
  status: string;
  follow_ups: number;
  /** Milliseconds until its wait is over; null where it has none. */
  wait_ms: number | null;
  /** Milliseconds until its next start. */
  next_ms: number;
  last_success_at: Date | null;
  last_full_at: Date | null;
};

export async function customerOf(world: World, customerId: string): Promise<CustomerSeen> {
  const [row] = await world.rows<CustomerSeen>(
    `SELECT status, follow_ups, (extract(epoch FROM not_before - now()) * 1000)::float8 AS wait_ms,
       (extract(epoch FROM next_sync_at - now()) * 1000)::float8 AS next_ms, last_success_at, last_full_at
     FROM calico.customers WHERE customer_id = $1`,
    [customerId],
  );
  if (!row) throw new Error(`there is no customer ${customerId}`);
  return row;
}

export async function deadLettersOf(world: World, customerId: string): Promise<object[]> {
  return world.rows('SELECT * FROM calico.dead_letters WHERE customer_id = $1 ORDER BY created_at', [
    customerId,
  ]);
}

/** Until a page of a customer's transactions is committed: the next one is asked for before that. */
export async function untilPageLanded(world: Pick<World, 'rows'>, customerId: string): Promise<void> {
  await waitFor(
    () =>
      world.rows(
        `SELECT FROM calico.sync_run_streams JOIN calico.sync_runs USING (run_id)
         WHERE customer_id = $1 AND stream = 'transactions' AND pages > 0`,
        [customerId],
      ),
    { describe: `a page of ${customerId} to be committed`, until: ({ length }) => length > 0 },
  );
}

/** Who waits for a lock in this world's database, and for what. */
export async function waitingBackends(
  world: Pick<World, 'rows'>,
): Promise<{ pid: number; wait_event: string; query: string }[]> {
  return world.rows(
    `SELECT pid, wait_event, query FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'calico-sync' AND wait_event_type = 'Lock'`,
  );
}
