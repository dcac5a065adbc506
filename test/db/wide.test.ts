/** 100,000 customers: what a tick reads of them, in statements, rows and buffers, and how evenly they start. No clock. */
import { expect, onTestFinished, test } from 'vitest';
import { type Database, openDatabase } from '../../src/db/client.ts';
import { listDueCustomers } from '../../src/db/customers.ts';
import { nextSlot } from '../../src/db/runs.ts';
import { customers } from '../../src/db/schema-sync.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { nodesOf, openPlanDoor } from '../support/plans.ts';

const CUSTOMERS = 100_000;
const DUE = 1_000;
const HOUR_MS = 60 * 60_000;

/** All of them synced within the last half hour. */
async function createWideDatabase(): Promise<TestDatabase> {
  const database = await createTestDatabase();
  onTestFinished(() => database.close());
  await database.pool.query(
    `INSERT INTO calico.customers (customer_id, next_sync_at)
     SELECT 'customer-' || i, now() + interval '30 minutes' + interval '1 minute' * (i % 30) FROM generate_series(1, $1::int) i`,
    [CUSTOMERS],
  );
  return database;
}

async function withDatabase<T>(url: string, work: (db: Database) => Promise<T>): Promise<T> {
  const db = openDatabase({ url, maxConnections: 1 });
  return work(db).finally(() => db.close());
}

test('a tick reads those that are due by their index, and nobody else', async () => {
  const { url, pool } = await createWideDatabase();
  await pool.query(
    `UPDATE calico.customers SET next_sync_at = now() - interval '10 milliseconds' * split_part(customer_id, '-', 2)::int
     WHERE customer_id IN (SELECT 'customer-' || i FROM generate_series(1, $1::int, $1::int / $2::int) i)`,
    [CUSTOMERS, DUE],
  );
  await pool.query('VACUUM (ANALYZE) calico.customers');
  const door = await openPlanDoor(url, { analyze: true });
  onTestFinished(door.close);

  const due = await withDatabase(door.url, (db) => db.run((orm) => listDueCustomers(orm, 2 * DUE)));
  expect(due).toHaveLength(DUE);
  const planned = door.take();
  expect(planned).toHaveLength(2);
  const plan = planned[1]?.plan;
  if (!plan) throw new Error('there is no plan');
  const reads = nodesOf(plan).filter((node) => node['Index Name'] ?? node['Relation Name']);
  expect(reads.flatMap((node) => node['Index Name'] ?? [])).toEqual(['customers_due']);
  for (const node of reads) {
    expect(node['Node Type']).not.toBe('Seq Scan');
    expect(node['Actual Rows']).toBe(DUE);
    expect(node['Rows Removed by Filter'] ?? 0).toBe(0);
  }
  // At most a page a customer and a few of the index; the whole table has 1,300.
  expect((plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0)).toBeLessThan(DUE + 20);
});

test('runs that end together start again evenly, in the busiest minute of an hour at most 1.2 times the mean', async () => {
  const { url, pool } = await createWideDatabase();
  const intervalMs = HOUR_MS;
  await withDatabase(url, (db) =>
    db.run((orm) => orm.update(customers).set({ nextSyncAt: nextSlot(intervalMs) })),
  );
  const { rows } = await pool.query<{ starts: number }>(
    `SELECT count(*)::int AS starts FROM calico.customers
     GROUP BY mod(floor(extract(epoch FROM next_sync_at))::int, $1::int) / 60`,
    [intervalMs / 1000],
  );
  expect(rows).toHaveLength(intervalMs / 60_000);
  const busiest = Math.max(...rows.map(({ starts }) => starts));
  expect(busiest / (CUSTOMERS / rows.length)).toBeLessThan(1.2);
});
