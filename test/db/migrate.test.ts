import { sql } from 'drizzle-orm';
import { expect, inject, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/db/client.ts';
import { countPendingMigrations, migrateDatabase } from '../../src/db/migrate.ts';
import { nameTestDatabase } from '../support/database.ts';
import { asAdmin } from '../support/database-template.ts';
import { createWorld } from '../support/world.ts';

/** A database with nothing in it, unlike those that other tests clone. */
async function createEmptyDatabase(): Promise<string> {
  const { name, url } = nameTestDatabase();
  await asAdmin(inject('postgresUrl'), `CREATE DATABASE ${name} TEMPLATE template0`);
  onTestFinished(async () => {
    await asAdmin(inject('postgresUrl'), `DROP DATABASE ${name}`);
  });
  return url;
}

async function pendingIn(url: string): Promise<number> {
  const db = openDatabase({ url, maxConnections: 1 });
  try {
    return await db.run(countPendingMigrations);
  } finally {
    await db.close();
  }
}

test('a fresh database gets everything, and the second time nothing', async () => {
  const url = await createEmptyDatabase();
  const all = await pendingIn(url);
  expect(all).toBeGreaterThan(0);

  expect(await migrateDatabase(url)).toEqual({ applied: all });
  expect(await pendingIn(url)).toBe(0);
  expect(await migrateDatabase(url)).toEqual({ applied: 0 });
  const [{ tables } = { tables: 0 }] = await asAdmin<{ tables: number }>(
    url,
    "SELECT count(*)::int AS tables FROM pg_tables WHERE schemaname = 'calico'",
  );
  expect(tables).toBeGreaterThan(15);
});

test('twenty at once: one migrates, nineteen wait and find nothing to do', async () => {
  const url = await createEmptyDatabase();
  const all = await pendingIn(url);

  const results = await Promise.all(Array.from({ length: 20 }, () => migrateDatabase(url)));

  expect(results.map(({ applied }) => applied).sort()).toEqual([...Array(19).fill(0), all]);
});

test('a migration that fails leaves nothing behind and says why', async () => {
  const url = await createEmptyDatabase();
  await asAdmin(url, 'CREATE SCHEMA calico');
  await asAdmin(url, 'CREATE TABLE calico.transaction_fees ()'); // in the way of ours

  await expect(migrateDatabase(url)).rejects.toMatchObject({
    name: 'DatabaseError',
    sqlState: '42P07',
    message: expect.stringContaining('transaction_fees'),
  });
  const tables = await asAdmin(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'calico'");
  expect(tables).not.toContainEqual({ tablename: 'customers' });

  await asAdmin(url, 'DROP SCHEMA calico CASCADE');
  expect((await migrateDatabase(url)).applied).toBeGreaterThan(0);
});

test('migrations of the fintech’s own in the same database are not ours', async () => {
  const url = await createEmptyDatabase();
  await asAdmin(url, 'CREATE SCHEMA drizzle');
  await asAdmin(url, 'CREATE TABLE drizzle.__drizzle_migrations (id serial, hash text, created_at bigint)');
  await asAdmin(
    url,
    "INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ('x', 9999999999999)",
  );

  expect(await pendingIn(url)).toBeGreaterThan(0);
  expect((await migrateDatabase(url)).applied).toBeGreaterThan(0);
});

test('a database that a newer version has migrated lacks nothing of ours', async () => {
  const url = await createEmptyDatabase();
  await migrateDatabase(url);
  await asAdmin(
    url,
    "INSERT INTO calico.schema_migrations (hash, created_at) VALUES ('newer', 9999999999999)",
  );

  expect(await pendingIn(url)).toBe(0);
  expect(await migrateDatabase(url)).toEqual({ applied: 0 });
});

test('a server that cannot be reached is an error of that kind', async () => {
  await expect(migrateDatabase('postgres://nobody@127.0.0.1:1/none')).rejects.toMatchObject({
    name: 'DatabaseError',
    kind: 'unavailable',
  });
});

test('a database without our schema counts all migrations as pending, and other failures are not taken for that', async () => {
  const url = await createEmptyDatabase();
  await migrateDatabase(url);
  const db = openDatabase({ url, maxConnections: 1 });
  await db.run((orm) => orm.execute(sql`ALTER TABLE calico.schema_migrations RENAME created_at TO gone`));

  await expect(db.run(countPendingMigrations)).rejects.toMatchObject({ kind: 'schema', sqlState: '42703' });
  await db.close();
});

test('no ANALYZE reads raw or content_hash, in any table that has them', async () => {
  const { rows } = await createWorld();
  const columns = await rows<{ column: string; target: number | null }>(
    `SELECT c.relname || '.' || a.attname AS column, a.attstattarget AS target
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
     WHERE c.relnamespace = 'calico'::regnamespace AND c.relkind = 'r' AND a.attname IN ('raw', 'content_hash')`,
  );
  expect(columns).toHaveLength(2 * 9);
  expect(columns.filter(({ target }) => target !== 0)).toEqual([]);
});
