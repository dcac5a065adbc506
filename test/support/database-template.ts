/** The database that every test's database is cloned from: migrated once a run, then closed to everybody. */
import pg from 'pg';
import { migrateDatabase } from '../../src/db/migrate.ts';

/** The name of the run's template. */
export function templateName(databasePrefix: string): string {
  return `${databasePrefix}_template`;
}

/** The same server's URL for another database. */
export function urlOfDatabase(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/** Makes the template. Nobody may connect to it afterwards: a connection would be in the way of those who clone it. */
export async function createTemplate(serverUrl: string, databasePrefix: string): Promise<void> {
  const name = templateName(databasePrefix);
  // Of template0, in UTF8: a shared server's template1 may have an encoding or contents of its own.
  await asAdmin(serverUrl, `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`);
  await migrateDatabase(urlOfDatabase(serverUrl, name));
  await asAdmin(serverUrl, `ALTER DATABASE ${name} WITH ALLOW_CONNECTIONS false`);
}

/** Makes a database that is as the template is. Copying its files takes 80 ms of CPU; by way of the WAL it would be 210. */
export async function cloneTemplate(serverUrl: string, databasePrefix: string, name: string): Promise<void> {
  const template = templateName(databasePrefix);
  await asAdmin(serverUrl, `CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY FILE_COPY`);
}

/** Drops what the run made: the template, and what a test that failed has left. Ends their connections. */
export async function dropTestDatabases(serverUrl: string, databasePrefix: string): Promise<void> {
  const left = await asAdmin<{ datname: string }>(
    serverUrl,
    'SELECT datname FROM pg_database WHERE starts_with(datname, $1)',
    [databasePrefix],
  );
  for (const { datname } of left) await asAdmin(serverUrl, `DROP DATABASE IF EXISTS ${datname} WITH (FORCE)`);
}

/** One statement on the server's own database, over a connection of its own. */
export async function asAdmin<Row extends pg.QueryResultRow>(
  serverUrl: string,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: serverUrl, application_name: 'calico-sync tests' });
  client.on('error', () => {}); // the query under way rejects with the same error
  await client.connect();
  try {
    return (await client.query<Row>(text, values)).rows;
  } finally {
    await client.end();
  }
}
