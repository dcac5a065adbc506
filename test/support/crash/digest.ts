/** What must be the same after any number of crashes as after none: every table, without what differs from run to run. */
import { DATA_TABLES, transactionsWithManyHomes } from '../look.ts';
import type { World } from '../world.ts';

/** Tables that are compared row by row. A new table with a `customer_id` belongs here, or in `LEFT_OUT` with the reason. */
const COMPARED = [
  ...DATA_TABLES,
  'quarantined_records',
  'dead_letters',
  'checkpoints',
  'provider_status',
  'customers',
  'held_removals',
  'held_removal_rows',
];

/** The test fails for a table that is in neither list: somebody has to say which. */
const LEFT_OUT: Record<string, string> = {
  credentials: 'sealed with new random bytes at every save; that they work is seen by the next sync',
  event_outbox:
    'an event is its run’s, and there are more runs; test/sync/events.test.ts has what each is written with',
  sync_runs: 'one more for each crash; the last one is compared, and `faultsOf` looks at all',
};

/** Whose, which run, when, and in how many pages (rows that are gone are walked twice, at once or by the next full pass): never compared. */
const INCIDENTAL = [
  ...['id', 'customer_id', 'run_id', 'last_run_id', 'epoch', 'evidence'],
  ...['first_seen_at', 'last_seen_at', 'last_changed_at', 'valid_from', 'updated_at', 'since', 'created_at'],
  ...['next_sync_at', 'pages_done'],
];

/** Times and ids of which only this is compared: is there one? */
const WHETHER = [
  ...['removed_at', 'valid_to', 'resolved_at', 'replayed_at', 'discarded_at', 'last_ok_at'],
  ...['lease_until', 'not_before', 'last_success_at', 'last_full_at', 'pass_run_id', 'pass_started_at'],
];

/** A customer's rows as text, in an order that is always the same. */
export type Digest = readonly string[];

/** What tells that a row was marked as removed. */
const REMOVAL = ['removed_at', 'valid_to'];

/**
 * Digests by customer, in one statement. Without `removals`, what is marked as removed looks like what is not: a full pass
 * that was killed says nothing of removals (promise 6), the next one does.
 */
export async function digestsOf(
  world: World,
  customerIds: readonly string[],
  { removals }: { removals: boolean },
): Promise<Map<string, Digest>> {
  const selects = COMPARED.map(
    (table) => `SELECT '${table}' AS what, customer_id, to_jsonb(t) AS row FROM calico.${table} t
      WHERE customer_id = ANY ($1)`,
  );
  const rows = await world.rows<{ customer_id: string; text: string }>(
    `SELECT customer_id, what || ' ' || (row - $2::text[] || coalesce((SELECT jsonb_object_agg(key, value <> 'null')
       FROM jsonb_each(row) WHERE key = ANY ($3)), '{}'))::text AS text
     FROM (${selects.join(' UNION ALL ')}
       UNION ALL (SELECT DISTINCT ON (customer_id) 'last run', customer_id,
         jsonb_build_object('mode', mode, 'status', status, 'reason', reason)
         FROM calico.sync_runs WHERE customer_id = ANY ($1) ORDER BY customer_id, started_at DESC)) AS all_rows
     ORDER BY 1, 2`,
    [
      customerIds,
      removals ? INCIDENTAL : [...INCIDENTAL, ...REMOVAL],
      WHETHER.filter((column) => removals || !REMOVAL.includes(column)),
    ],
  );
  const digests = new Map<string, string[]>(customerIds.map((customerId) => [customerId, []]));
  for (const { customer_id, text } of rows) digests.get(customer_id)?.push(text);
  return digests;
}

/** What is in one digest and not in the other, a line each; empty where they are equal. */
export function differences(expected: Digest, seen: Digest): string[] {
  return [...without(expected, seen, 'lost: '), ...without(seen, expected, 'too much: ')];
}

function without(some: Digest, others: Digest, label: string): string[] {
  const left = [...others];
  return some.flatMap((row) => {
    const at = left.indexOf(row);
    if (at < 0) return [label + row];
    left.splice(at, 1);
    return [];
  });
}

/** What no customer that is at rest may show, whatever became of its workers; a line each. */
export async function faultsOf(
  world: Pick<World, 'rows'>,
  customerIds: readonly string[],
): Promise<string[]> {
  const runs = await world.rows<{ fault: string }>(
    `SELECT customer_id || ': a run is ' || status || ' and ended at ' || coalesce(finished_at::text, 'no time') AS fault
     FROM calico.sync_runs WHERE customer_id = ANY ($1)
       AND (status IN ('running', 'waiting') OR finished_at IS NULL OR finished_at < started_at)
     UNION ALL
     SELECT customer_id || ': a run succeeded without a whole receipt of both streams' FROM calico.sync_runs r
     WHERE customer_id = ANY ($1) AND status = 'succeeded' AND 2 <> (SELECT count(*) FROM calico.sync_run_streams s
       WHERE s.run_id = r.run_id AND s.complete AND s.balanced)
     UNION ALL
     SELECT customer_id || ': a receipt does not balance' FROM calico.sync_runs JOIN calico.sync_run_streams s USING (run_id)
     WHERE customer_id = ANY ($1) AND NOT s.balanced
     UNION ALL
     SELECT customer_id || ': its schedule has not moved on' FROM calico.customers
     WHERE customer_id = ANY ($1) AND next_sync_at <= now()
     UNION ALL
     SELECT customer_id || ': a state in the history ends before it begins, or has two ends' FROM calico.asset_position_history
     WHERE customer_id = ANY ($1) AND valid_to <= valid_from`,
    [customerIds],
  );
  const homes = await transactionsWithManyHomes(world);
  return [...runs.map(({ fault }) => fault), ...homes.map((home) => `two homes: ${JSON.stringify(home)}`)];
}

/** Tables that nobody has said to compare or to leave out. */
export async function unknownTables(world: World): Promise<string[]> {
  const rows = await world.rows<{ name: string }>(
    `SELECT c.table_name AS name FROM information_schema.columns c JOIN information_schema.tables t
       USING (table_schema, table_name)
     WHERE table_schema = 'calico' AND column_name = 'customer_id' AND table_type = 'BASE TABLE' ORDER BY 1`,
  );
  return rows.map(({ name }) => name).filter((name) => !COMPARED.includes(name) && !(name in LEFT_OUT));
}
