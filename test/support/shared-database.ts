/** Databases for tests that follow each other in one file: emptying one takes 5 ms, making one 400. */
import { createTestDatabase, type TestDatabase } from './database.ts';

const idle: TestDatabase[] = [];

/** At the end of each file: fails where what was tested in it still holds a connection. */
export async function closeIdleDatabases(): Promise<void> {
  for (const database of idle.splice(0)) await database.close();
}

/** An empty database that nobody else uses until it is given back. Its schema must be left as it was. */
export async function borrowDatabase(): Promise<TestDatabase> {
  return idle.pop() ?? (await createTestDatabase());
}

export async function giveBackDatabase(database: TestDatabase): Promise<void> {
  const { rows } = await database.pool.query<{ name: string }>(
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'calico' AND tablename <> 'schema_migrations'",
  );
  const statements = rows.map(({ name }) => `DELETE FROM calico.${name}`);
  await database.pool.query(["SET lock_timeout = '5s'", ...statements].join('; '));
  idle.push(database);
}
