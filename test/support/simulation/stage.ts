/** What all seeds of one process share: a database, a sandbox and the workers' ways to both. Seeds play on it one by one. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type Logger, pino } from 'pino';
import { type CalicoClient, createCalicoClient } from '../../../src/calico/client.ts';
import { type Database, openDatabase } from '../../../src/db/client.ts';
import type { Connection } from '../../../src/db/statements.ts';
import type { KeyRing } from '../../../src/db/vault.ts';
import { createMemoryData, type MemoryData } from '../../../src/sandbox/data-memory.ts';
import { type Sandbox, startSandbox } from '../../../src/sandbox/server.ts';
import type { SyncDeps } from '../../../src/sync/turn.ts';
import { installClock, openClock, type SimulatedClock } from './clock.ts';

/** How many workers there are at most; the operator is one of them. */
export const SLOTS = ['w1', 'w2', 'w3', 'operator'] as const;

/** A worker's place: its connections, of which the seed's gates hear. */
export type Slot = {
  name: (typeof SLOTS)[number];
  db: Database;
  unheard: SyncDeps['unheard'];
  /** Set while a piece of work is under way here. */
  onStatement: ((moment: string, connection: Connection) => Promise<void>) | null;
};

export type Stage = {
  data: MemoryData;
  sandbox: Sandbox;
  clock: SimulatedClock;
  slots: readonly Slot[];
  /** Nobody stops its statements: for a worker that nothing happens to, and for what happens beside the workers. */
  db: Database;
  /** The simulation's own looks and changes. */
  pool: pg.Pool;
  keys: KeyRing;
  /** Waits for an answer as long as it takes; `hasty` for those that never come. */
  client: CalicoClient;
  hasty: CalicoClient;
  log: Logger;
  /** Lines that were logged since the seed began. */
  logged: string[];
  countLockWaits(): Promise<number>;
  /** An empty database and the clock at `nowMs`. */
  clear(nowMs: number): Promise<void>;
  close(): Promise<void>;
};

/** Opens a stage on a migrated database that nobody else uses. */
export async function openStage(databaseUrl: string): Promise<Stage> {
  await installClock(databaseUrl);
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: 1,
    application_name: 'calico-sync simulation',
  });
  pool.on('error', () => {}); // whoever queries next sees it
  const clock = openClock(pool);
  const data = createMemoryData();
  const sandbox = await startSandbox({
    data,
    ...{
      now: clock.now,
      logRequests: false,
      cursorTtlMs: 20 * 60_000,
      // Where rotation is strict, a worker that dies with new tokens in hand costs its customer a sign-in (README): no fault of it.
      refreshTokenGraceMs: 30 * 24 * 60 * 60_000,
    },
    sleep: clock.advance,
  });
  const slots = SLOTS.map((name): Slot => {
    const slot: Omit<Slot, 'db'> = { name, unheard: new Set(), onStatement: null };
    const onStatement = (moment: string, connection: Connection) => slot.onStatement?.(moment, connection);
    const db = openDatabase({ url: databaseUrl, maxConnections: 3, onStatement });
    return Object.assign(slot, { db });
  });
  const db = openDatabase({ url: databaseUrl, maxConnections: 3 });
  const logged: string[] = [];
  const clientWith = (timeoutMs: number) => {
    const { apiUrl, authUrl } = sandbox;
    return createCalicoClient({ apiUrl, authUrl, timeoutMs, maxBodyBytes: 1_000_000, now: clock.now });
  };
  const tables = await tablesOf(pool);
  return {
    ...{ data, sandbox, clock, slots, db, pool, logged },
    keys: new Map([['test', randomBytes(32)]]),
    client: clientWith(60_000),
    hasty: clientWith(20),
    log: pino({ level: 'info' }, { write: (line: string) => void logged.push(line) }),
    countLockWaits: async () => {
      // Prepared, for planning it takes five times as long as it does.
      const { rows } = await pool.query<{ waiting: number }>({
        name: 'lock_waits',
        text: `SELECT count(DISTINCT pid)::int AS waiting FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE NOT granted AND datname = current_database() AND application_name = 'calico-sync'`,
      });
      return rows[0]?.waiting ?? 0;
    },
    clear: async (nowMs) => {
      for (const { unheard } of slots) unheard.clear();
      await pool.query(tables.map((table) => `DELETE FROM calico.${table}`).join('; '));
      await clock.set(nowMs);
      for (const customerId of data.customerIds()) {
        sandbox.tokens.revoke(customerId);
        data.removeCustomer(customerId);
      }
      sandbox.faults.clear();
      logged.length = 0;
    },
    close: async () => {
      await sandbox.close();
      await Promise.all([...slots.map((slot) => slot.db.close()), db.close(), pool.end()]);
    },
  };
}

async function tablesOf(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'calico' AND tablename <> 'schema_migrations'",
  );
  return rows.map(({ name }) => name);
}
