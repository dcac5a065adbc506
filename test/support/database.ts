import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { asAdmin, cloneTemplate, urlOfDatabase } from './database-template.ts';
import { waitFor } from './wait-for.ts';

/** What `pool` calls itself. */
const OWN_NAME = 'calico-sync test';

export interface TestDatabase {
  name: string;
  url: string;
  /** For the test's own looks and changes; what is tested gets the `url`. */
  pool: pg.Pool;
  /** Ends the pool and drops the database. Rejects if somebody else still holds a connection: what is tested leaks it. */
  close(): Promise<void>;
}

/** A name nobody else has and the URL that will be its, before there is such a database. */
export function nameTestDatabase(): { name: string; url: string } {
  const name = `${inject('databasePrefix')}_${randomBytes(4).toString('hex')}`;
  return { name, url: urlOfDatabase(inject('postgresUrl'), name) };
}

/** A fresh, migrated database, cloned from the run's template in about 0.1 s. Any number may be made at once. */
export async function createTestDatabase({ name, url } = nameTestDatabase()): Promise<TestDatabase> {
  const server = inject('postgresUrl');
  await cloneInTime(server, name);
  const pool = new pg.Pool({ connectionString: url, application_name: OWN_NAME });
  pool.on('error', () => {}); // tests end connections on purpose; whoever queries next sees it
  return {
    name,
    url,
    pool,
    close: async () => {
      await pool.end();
      await dropDatabase(server, name);
    },
  };
}

/** Clones do not disturb each other; an autovacuum of the template might: Postgres waits 5 s for it, then refuses. */
async function cloneInTime(server: string, name: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await cloneTemplate(server, inject('databasePrefix'), name);
      return;
    } catch (error) {
      if (!isInUse(error) || attempt === 3) throw error;
    }
  }
}

/** Without FORCE: Postgres gives connections that are closing 5 s, and the rest are a leak, which the error names. */
async function dropDatabase(server: string, name: string): Promise<void> {
  try {
    await asAdmin(server, `DROP DATABASE ${name}`);
  } catch (error) {
    throw isInUse(error) ? await leak(server, name) : error;
  }
}

/** Rejects if anybody but the test's own pool is still connected after the time that a connection takes to close. */
export async function expectNobodyConnected({ name, pool }: TestDatabase): Promise<void> {
  const count = async () => {
    const { rows } = await pool.query(
      "SELECT FROM pg_stat_activity WHERE datname = $1 AND application_name <> $2 AND backend_type = 'client backend'",
      [name, OWN_NAME],
    );
    return rows.length;
  };
  const isLeft = waitFor(count, { describe: 'connections to end', timeoutMs: 5_000, until: (n) => n === 0 });
  await isLeft.catch(async () => {
    throw await leak(inject('postgresUrl'), name);
  });
}

async function leak(server: string, name: string): Promise<Error> {
  const holders = await asAdmin<{ holder: string }>(
    server,
    `SELECT concat(application_name, ': ', left(query, 80)) AS holder FROM pg_stat_activity WHERE datname = $1`,
    [name],
  );
  return new Error(
    `the test closes its database while others are connected:\n${holders.map(({ holder }) => holder).join('\n')}`,
  );
}

function isInUse(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === '55006';
}
