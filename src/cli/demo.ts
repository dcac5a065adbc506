/**
 * `calico-sync demo`: the whole pipeline on one machine with nothing installed: embedded Postgres, stand-in Calico with
 * real transactions, BullMQ's Postgres queue, one worker. Everything that it starts it stops.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createCloser, openMigratedDatabase, startWorker } from '../app.ts';
import { readConfig } from '../config.ts';
import type { Database } from '../db/client.ts';
import { saveCredentials } from '../db/credentials.ts';
import { addCustomer } from '../db/customers.ts';
import { migrateDatabase } from '../db/migrate.ts';
import type { KeyRing } from '../db/vault.ts';
import { createLog } from '../ops/log.ts';
import { migrateQueue } from '../queue/connection.ts';
import { startEmbeddedPostgres, throwawaySettings } from '../sandbox/embedded-postgres.ts';
import { type Sandbox, startSandbox } from '../sandbox/server.ts';
import { showDemoResults } from './demo-results.ts';
import { failure } from './explain.ts';
import { formatDuration } from './format.ts';
import { say } from './output.ts';
import { followRuns } from './progress.ts';

/** Runs the demo to its end; `keep`: leaves everything running until Ctrl-C. Stops what it started in any case. */
export async function runDemo({ keep = false }: { keep?: boolean }): Promise<void> {
  const closer = createCloser();
  const interrupted = new AbortController();
  const { signal } = interrupted;
  const interrupt = () => interrupted.abort(failure('The demo was interrupted.'));
  // For good: a second Ctrl-C must not end the process before it has stopped and removed what it started.
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  try {
    const startedMs = Date.now();
    say('Starting PostgreSQL 18 and a stand-in Calico with real Ethereum transactions …');
    const postgres = await startEmbeddedPostgres({ settings: throwawaySettings });
    closer.add(postgres.stop);
    signal.throwIfAborted();
    const sandbox = await startSandbox({ logRequests: false });
    closer.add(sandbox.close);

    const environment = demoEnvironment(postgres.socketUrl, sandbox);
    const config = readConfig(
      environment,
      'database',
      'queue',
      'credentials',
      'calico',
      'sync',
      'worker',
      'events',
    );
    const log = createLog('warn');
    await migrateDatabase(postgres.socketUrl);
    await migrateQueue(config.queue.QUEUE_URL, config.queue.QUEUE_PREFIX);
    const db = await openMigratedDatabase(config, log, { maxConnections: 5 });
    closer.add(db.close);
    const since = new Date();
    await addWallets(db, config.credentials.CREDENTIALS_KEYS, sandbox, signal);
    const worker = await startWorker(config, log);
    closer.add(worker.close);

    await followRuns(db, { customerIds: null, since, signal });
    signal.throwIfAborted();
    await showDemoResults(db, sandbox);
    say(`\nAll of it took ${formatDuration(Date.now() - startedMs)}.`);
    if (keep) await stayUp({ ...environment, DATABASE_URL: postgres.url, QUEUE_URL: postgres.url }, signal);
    else say(GO_ON);
  } catch (error) {
    // A terminal's Ctrl-C reaches initdb too, whose account of that helps nobody.
    signal.throwIfAborted();
    throw error;
  } finally {
    await closer.closeAll();
  }
}

const GO_ON = `
How to go on:
  npm run demo -- --keep             the same, left running, to look around in it
  npm run -s calico-sync -- --help   every command
  README.md                          settings, tables, and what happens when…`;

/** The settings of the demo, as anyone would set them. */
function demoEnvironment(databaseUrl: string, sandbox: Sandbox) {
  return {
    DATABASE_URL: databaseUrl,
    QUEUE_URL: databaseUrl,
    CREDENTIALS_KEYS: `demo:${randomBytes(32).toString('base64')}`,
    CALICO_API_URL: sandbox.apiUrl,
    CALICO_AUTH_URL: sandbox.authUrl,
    CALICO_CLIENT_ID: sandbox.clientId,
    CALICO_CLIENT_SECRET: sandbox.clientSecret,
    // The stand-in has no limit, and nobody wants to wait.
    CALICO_RATE_LIMIT: '1000',
  };
}

async function addWallets(db: Database, keys: KeyRing, sandbox: Sandbox, signal: AbortSignal): Promise<void> {
  const wallets = sandbox.data.customerIds();
  say(`Adding ${wallets.length} wallets as customers, their tokens encrypted …`);
  for (const wallet of wallets) {
    signal.throwIfAborted();
    const { access_token, refresh_token, expires_in } = sandbox.issueTokens(wallet);
    await db.transaction(async ({ orm }) => {
      await addCustomer(orm, wallet, null);
      await saveCredentials(orm, keys, wallet, {
        accessToken: access_token,
        refreshToken: refresh_token,
        accessExpiresAt: new Date(Date.now() + expires_in * 1000),
        refreshExpiresAt: new Date(Date.now() + YEAR_MS),
      });
    });
  }
}

const YEAR_MS = 365 * 24 * 60 * 60 * 1000;

/** Says how to connect and waits for Ctrl-C. The database and the key are this demo's own and end with it. */
async function stayUp(environment: ReturnType<typeof demoEnvironment>, signal: AbortSignal): Promise<void> {
  say(`
Everything is still running; every wallet is synced again once an hour. Ctrl-C stops it and removes the database.

In another terminal, to look at the tables:
  psql '${environment.DATABASE_URL}' -c 'SELECT * FROM calico.transactions LIMIT 5'

To use the command on it:`);
  for (const [name, value] of Object.entries(environment)) say(`  export ${name}='${value}'`);
  say(`  npm run -s calico-sync -- runs
  npm run -s calico-sync -- sync --all --full --wait`);
  if (!signal.aborted) await once(signal, 'abort');
  say('Stopping …');
}
