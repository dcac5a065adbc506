import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import pg from 'pg';
import type { Orm } from './client.ts';
import { toDatabaseError } from './errors.ts';

/** In our own schema: the fintech's database may hold drizzle migrations of its own. */
const migrations = {
  migrationsFolder: join(import.meta.dirname, '../../migrations'),
  migrationsSchema: 'calico',
  migrationsTable: 'schema_migrations',
};

/** Spells CLCO. drizzle's migrate() takes no lock; twenty workers started at once must not run it together. */
const MIGRATION_LOCK = 0x434c434f;

/**
 * Brings the schema `calico` up to date, all pending migrations in one transaction, and says how many it applied.
 * Any number may run at once: they queue on one advisory lock.
 */
export async function migrateDatabase(url: string): Promise<{ applied: number }> {
  const client = new pg.Client({ connectionString: url, application_name: 'calico-sync migrate' });
  client.on('error', () => {}); // the query under way rejects with the same error
  try {
    await client.connect();
    const orm = drizzle(client);
    await orm.execute(sql`SELECT pg_advisory_lock(${MIGRATION_LOCK})`);
    const pending = await countPendingMigrations(orm);
    if (pending > 0) await migrate(orm, migrations);
    return { applied: pending };
  } catch (error) {
    throw toDatabaseError(error);
  } finally {
    await client.end().catch(() => {});
  }
}

/** How many migrations of this version the database lacks; 0 where a newer version has already migrated it. */
export async function countPendingMigrations(orm: Orm): Promise<number> {
  const known = readMigrationFiles(migrations);
  const table = `${migrations.migrationsSchema}.${migrations.migrationsTable}`;
  const exists = await orm.execute<{ found: boolean }>(
    sql`SELECT to_regclass(${table}) IS NOT NULL AS found`,
  );
  if (!exists.rows[0]?.found) return known.length;
  const last = await orm.execute<{ at: string | null }>(
    sql`SELECT max(created_at)::text AS at FROM ${sql.raw(table)}`,
  );
  return known.filter(({ folderMillis }) => folderMillis > Number(last.rows[0]?.at ?? 0)).length;
}
