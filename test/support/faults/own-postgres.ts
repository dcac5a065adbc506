/** A Postgres that one test alone uses, and so may stop and kill. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { onTestFinished } from 'vitest';
import { migrateDatabase } from '../../../src/db/migrate.ts';
import { startEmbeddedPostgres } from '../../../src/sandbox/embedded-postgres.ts';
import type { TestDatabase } from '../database.ts';
import { waitFor } from '../wait-for.ts';

export type OwnPostgres = {
  /** Migrated; it ends with the test, whoever closes it. */
  database: TestDatabase;
  /** Of the server's files, and its user's. */
  dir: string;
  /** Ends the server and starts it again on the same port. `crash`: SIGKILL, and it has to recover; else everybody is sent away. */
  restart(how: 'fast' | 'crash'): Promise<void>;
};

/** What was committed is in the files when the process dies; only a power cut would be noticed. */
const SETTINGS = { fsync: 'off', max_connections: '100' };

/** Starts one for the test that is running. */
export async function startOwnPostgres(more: Record<string, string> = {}): Promise<OwnPostgres> {
  const settings = { ...SETTINGS, ...more };
  const dir = await mkdtemp(join(tmpdir(), 'calico-own-postgres-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  let server = await startEmbeddedPostgres({ dir, settings });
  onTestFinished(() => server.stop());
  const { url, port } = server;
  await migrateDatabase(url);
  const pool = new pg.Pool({ connectionString: url, application_name: 'calico-sync test' });
  pool.on('error', () => {}); // it is ended on purpose
  onTestFinished(() => pool.end());
  return {
    dir,
    database: { name: 'postgres', url, pool, close: async () => {} },
    restart: async (how) => {
      if (how === 'crash') process.kill(server.pid, 'SIGKILL');
      await server.stop();
      // What the dead one had shared with its children is in use until the last of them has noticed.
      server = await waitFor(() => startEmbeddedPostgres({ dir, port, settings }), {
        describe: 'Postgres to start again',
      });
    },
  };
}
