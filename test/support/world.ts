import { randomBytes } from 'node:crypto';
import { type Logger, pino } from 'pino';
import { onTestFinished } from 'vitest';
import { createCalicoClient } from '../../src/calico/client.ts';
import type { Limiter } from '../../src/calico/limiter.ts';
import { type Database, openDatabase } from '../../src/db/client.ts';
import { saveCredentials } from '../../src/db/credentials.ts';
import { addCustomer } from '../../src/db/customers.ts';
import { createMemoryData, type MemoryData } from '../../src/sandbox/data-memory.ts';
import { type Sandbox, type SandboxOptions, startSandbox } from '../../src/sandbox/server.ts';
import { beginAhead } from '../../src/sync/ahead.ts';
import { createFleet } from '../../src/sync/fleet.ts';
import type { Outcome } from '../../src/sync/outcome.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import type { SyncDeps, SyncSettings } from '../../src/sync/turn.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { borrowDatabase, giveBackDatabase } from './shared-database.ts';

/** A customer's world: a database of its own, a sandbox that the test fills, and a sync between them. */
export type World = {
  data: MemoryData;
  sandbox: Sandbox;
  database: TestDatabase;
  db: Database;
  deps: SyncDeps;
  /** Lines that were logged, as JSON text. */
  logged: string[];
  /** Adds a customer with tokens of the sandbox's; it is due at once. */
  addCustomer(customerId: string): Promise<void>;
  /** Makes a customer due now, whatever its schedule and waits; in a pause of the fleet it may ask whether that is over. */
  makeDue(customerId: string): Promise<void>;
  /** One turn of the customer's sync. */
  sync(customerId: string, stop?: AbortSignal): Promise<Outcome>;
  /** Turns until the run is over; waits and retries are cut short. */
  syncToEnd(customerId: string): Promise<Outcome>;
  /** Lets the lease of a worker that is dead or asleep run out. */
  expireLease(customerId: string): Promise<void>;
  rows<Row extends object>(text: string, values?: unknown[]): Promise<Row[]>;
};

export type WorldOptions = {
  settings?: Partial<SyncSettings>;
  sandbox?: Partial<SandboxOptions>;
  now?: () => number;
  random?: () => number;
  timeoutMs?: number;
  maxBodyBytes?: number;
  /** For a test that changes the schema. */
  ownDatabase?: boolean;
  /** Opened by the test, on a server of its own say, and closed by it. */
  database?: TestDatabase;
};

const SETTINGS: SyncSettings = {
  pageLimit: 100,
  slicePages: 50,
  leaseMs: 60_000,
  syncIntervalMs: 60 * 60_000,
  fullSyncIntervalMs: 7 * 24 * 60 * 60_000,
  overlapMs: 3 * 24 * 60 * 60_000,
  refreshSettleMs: 0,
  maxWaitMs: 6 * 60 * 60_000,
  keepRaw: true,
};

/** A budget without end. */
export const UNLIMITED: Limiter = { acquire: async (signal) => signal.throwIfAborted() };

/** Turns after which a sync that does not end is a defect, not a long run. */
const MAX_TURNS = 200;

/** Opens a world for the test that is running; it is closed when the test ends. */
export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const data = createMemoryData();
  const now = options.now ?? Date.now;
  const sandbox = await startSandbox({ data, now, ...options.sandbox });
  const own = options.database ?? (options.ownDatabase ? await createTestDatabase() : null);
  const database = own
    ? { ...own, db: openDatabase({ url: own.url, maxConnections: 6 }) }
    : await borrowDatabase();
  const { db } = database;
  const logged: string[] = [];
  const log: Logger = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
  const deps: SyncDeps = {
    db,
    client: createCalicoClient({
      apiUrl: sandbox.apiUrl,
      authUrl: sandbox.authUrl,
      timeoutMs: options.timeoutMs ?? 10_000,
      maxBodyBytes: options.maxBodyBytes ?? 16 * 1024 * 1024,
      now,
    }),
    oauth: { clientId: sandbox.clientId, clientSecret: sandbox.clientSecret },
    keys: new Map([['test', randomBytes(32)]]),
    begin: beginAhead,
    isAnyoneWaiting: async () => true,
    unheard: new Set(),
    settings: { ...SETTINGS, ...options.settings },
    log,
    now,
    random: options.random ?? Math.random,
    fleet: createFleet({
      ...{ db, log, now, limiter: UNLIMITED },
      random: options.random ?? Math.random,
      maxWaitMs: options.settings?.maxWaitMs ?? SETTINGS.maxWaitMs,
    }),
  };
  onTestFinished(async () => {
    await sandbox.close();
    if (!own) return giveBackDatabase(database);
    await db.close();
    if (!options.database) await own.close();
  });

  const rows: World['rows'] = async (text, values = []) => (await database.pool.query(text, values)).rows;
  const sync: World['sync'] = (customerId, stop = new AbortController().signal) =>
    runSync(deps, customerId, stop);
  const makeDue = async (customerId: string) => {
    await rows(
      'UPDATE calico.customers SET next_sync_at = least(next_sync_at, now()), not_before = NULL WHERE customer_id = $1',
      [customerId],
    );
    await rows('UPDATE calico.fleet_pause SET until = now()');
  };
  const expireLease = async (customerId: string) => {
    await rows('UPDATE calico.customers SET lease_until = clock_timestamp() WHERE customer_id = $1', [
      customerId,
    ]);
  };
  return {
    data,
    sandbox,
    database,
    db,
    deps,
    logged,
    rows,
    sync,
    makeDue,
    expireLease,
    addCustomer: async (customerId) => {
      if (!sandbox.data.hasCustomer(customerId)) data.addCustomer(customerId);
      const tokens = sandbox.issueTokens(customerId);
      await db.transaction(async ({ orm }) => {
        await addCustomer(orm, customerId, null);
        await saveCredentials(orm, deps.keys, customerId, {
          accessToken: tokens.access_token,
          refreshToken: tokens.refresh_token,
          accessExpiresAt: new Date(now() + tokens.expires_in * 1000),
          refreshExpiresAt: new Date(now() + 365 * 24 * 60 * 60_000),
        });
      });
    },
    syncToEnd: async (customerId) => {
      for (let turn = 0; turn < MAX_TURNS; turn++) {
        const outcome = await sync(customerId);
        if (outcome.kind !== 'later' && outcome.kind !== 'stopped') return outcome;
        await makeDue(customerId);
      }
      throw new Error(`the sync of ${customerId} did not end within ${MAX_TURNS} turns`);
    },
  };
}
