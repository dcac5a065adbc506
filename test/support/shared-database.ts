/**
 * Databases for tests that follow each other in one process, with the product's connections to them: emptying one takes
 * 5 ms, making one 400, and a connection that is hot with its statements planned saves 100 of CPU.
 */
import { type Database, openDatabase } from '../../src/db/client.ts';
import { createTestDatabase, expectNobodyConnected, type TestDatabase } from './database.ts';
import { waitFor } from './wait-for.ts';

export type SharedDatabase = TestDatabase & {
  /** As a worker opens it. Whoever closes it spoils it for the tests that follow. */
  db: Database;
};

type Kept = { database: TestDatabase; opened: Opened | null };
type Opened = { db: Database; underWay(): number };

const idle: Kept[] = [];
const lent = new Map<TestDatabase, Kept>();

/** An empty database that nobody else uses until it is given back. Its schema must be left as it was. */
export async function borrowDatabase(): Promise<SharedDatabase> {
  const kept = idle.pop() ?? { database: await createTestDatabase(), opened: null };
  kept.opened ??= open(kept.database.url);
  const shared = { ...kept.database, db: kept.opened.db };
  lent.set(shared, kept);
  return shared;
}

export async function giveBackDatabase(shared: SharedDatabase): Promise<void> {
  const kept = lent.get(shared);
  if (!kept?.opened) throw new Error('this database was not lent');
  lent.delete(shared);
  await waitFor(kept.opened.underWay, { describe: 'what a test has begun to end', until: (n) => n === 0 });
  const { rows } = await shared.pool.query<{ name: string }>(
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'calico' AND tablename <> 'schema_migrations'",
  );
  const statements = rows.map(({ name }) => `DELETE FROM calico.${name}`);
  await shared.pool.query(["SET lock_timeout = '5s'", ...statements].join('; '));
  idle.push(kept);
}

/** At the end of each file: fails where what was tested in it still holds a connection. The next file has the databases. */
export async function releaseDatabases(): Promise<void> {
  for (const kept of idle) {
    await kept.opened?.db.close();
    kept.opened = null;
    await expectNobodyConnected(kept.database);
  }
}

function open(url: string): Opened {
  const { run, transaction, close } = openDatabase({ url, maxConnections: 6 });
  let underWay = 0;
  const counted = async <T>(work: Promise<T>): Promise<T> => {
    underWay++;
    try {
      return await work;
    } finally {
      underWay--;
    }
  };
  return {
    db: {
      run: (work) => counted(run(work)),
      transaction: (work, options) => counted(transaction(work, options)),
      close,
    },
    underWay: () => underWay,
  };
}
