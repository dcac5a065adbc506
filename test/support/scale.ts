/** A small database that Postgres's planner takes for one of millions of rows. */
import type pg from 'pg';

const ROWS = 10_000_000;

/** How often the rows of the customer that is copied are there in truth: enough for ANALYZE to see what is rare and what is not. */
const COPIES = 500;

/** Those that stay small whatever comes. */
const SMALL = ['fleet_pause', 'contract_drift', 'schema_migrations'];

const BY_COLUMN: Record<string, string> = {
  customer_id: `'copy ' || i`,
  transaction_id: `transaction_id || ' ' || i`,
  transaction_hash: `transaction_hash || ' ' || i`,
  ...Object.fromEntries(['run_id', 'id', 'event_id'].map((column) => [column, 'gen_random_uuid()'])),
  ...Object.fromEntries(
    ['occurred_at', 'started_at', 'next_attempt_at', 'valid_from'].map((column) => [
      column,
      `${column} - random() * interval '3 years'`,
    ]),
  ),
  next_sync_at: `now() + random() * interval '1 hour'`,
};

/** What a customer that is well leaves empty. */
const ELSEWHERE = `
  INSERT INTO calico.sync_run_streams (run_id, stream) SELECT run_id, 'transactions' FROM calico.sync_runs ON CONFLICT DO NOTHING;
  INSERT INTO calico.sync_pages (pass_run_id, stream, page, cursor, key_hashes)
    SELECT run_id, 'transactions', page, 'page ' || page, '{1,2,3}' FROM calico.sync_runs, generate_series(1, 5) page;
  INSERT INTO calico.dead_letters (customer_id, run_id, verdict, cause, reason, fault, evidence, resolved_at)
    SELECT customer_id, run_id, 'give up', 'cause', 'reason', 'ours', '{}', now() FROM calico.sync_runs;
  INSERT INTO calico.held_removals (customer_id, stream, run_id, held_rows, live_rows, reason, approved_at)
    SELECT customer_id, 'transactions', run_id, 1, 1, 'reason', now() FROM calico.sync_runs;
  INSERT INTO calico.held_removal_rows (hold_id, customer_id, stream, key_hash, record_key)
    SELECT hold_id, customer_id, stream, row, ARRAY['provider', 'id'] FROM calico.held_removals, generate_series(1, 3) row;
  INSERT INTO calico.provider_status (customer_id, provider_id, state)
    SELECT customer_id, 'provider', 'ok' FROM calico.customers ON CONFLICT DO NOTHING;`;

/**
 * Copies all rows of `customerId`, then tells the planner of so many `customers` and of 10,000,000 rows in each table but
 * theirs. It reckons with the rows of each page that pg_class has and with the pages that are really there, which are few:
 * reading a whole table looks cheaper than it would be, and an index that wins here wins there. Needs a superuser.
 */
export async function pretendScale(pool: pg.Pool, customerId: string, customers: number): Promise<void> {
  const { rows: tables } = await pool.query<{ name: string; columns: string[]; is_of_customers: boolean }>(
    `SELECT table_name AS name, array_agg(column_name::text) FILTER (WHERE identity_generation IS NULL) AS columns,
       bool_or(column_name = 'customer_id') AS is_of_customers
     FROM information_schema.columns
     JOIN information_schema.tables USING (table_schema, table_name)
     WHERE table_schema = 'calico' AND table_type = 'BASE TABLE' AND table_name <> ALL ($1)
     GROUP BY table_name ORDER BY table_name <> 'customers'`,
    [SMALL],
  );
  for (const { name, columns, is_of_customers } of tables) {
    await pool.query(`ALTER TABLE calico.${name} SET (autovacuum_enabled = off)`);
    if (!is_of_customers) continue;
    await pool.query(`ALTER TABLE calico.${name} ALTER customer_id SET (n_distinct = ${customers})`);
    const values = columns.map((column) => BY_COLUMN[column] ?? column);
    await pool.query(
      `INSERT INTO calico.${name} (${columns.join(', ')}) SELECT ${values.join(', ')}
       FROM calico.${name}, generate_series(1, ${COPIES}) i WHERE customer_id = $1`,
      [customerId],
    );
  }
  await pool.query(ELSEWHERE);
  await pool.query('ANALYZE');
  await pool.query(
    `UPDATE pg_class AS c SET reltuples = c.reltuples * t.factor
     FROM (SELECT t.oid, i.indexrelid, CASE t.relname WHEN 'customers' THEN $1::float8 ELSE $2 END / t.reltuples AS factor
       FROM pg_class t JOIN pg_index i ON i.indrelid = t.oid
       WHERE t.relnamespace = 'calico'::regnamespace AND t.relname <> ALL ($3) AND t.reltuples > 0) AS t
     WHERE c.oid IN (t.oid, t.indexrelid)`,
    [customers, ROWS, SMALL],
  );
}
