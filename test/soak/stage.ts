/** Everything that the soak needs, its own: a Postgres that vacuums itself, a queue, a Calico, a webhook and the worker. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { readConfig } from '../../src/config.ts';
import { openDatabase } from '../../src/db/client.ts';
import { saveCredentials } from '../../src/db/credentials.ts';
import { addCustomer } from '../../src/db/customers.ts';
import { migrateDatabase } from '../../src/db/migrate.ts';
import { migrateQueue } from '../../src/queue/connection.ts';
import { startEmbeddedPostgres, throwawaySettings } from '../../src/sandbox/embedded-postgres.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { type Churn, createChurn } from './churn.ts';
import { startWorkerCommand, type WorkerProcess } from './process.ts';
import { openPostgresQueue, openRedis, type SoakQueue } from './queues.ts';
import { OWN_NAME } from './samples.ts';

const PREFIX = 'soak';
const YEAR_MS = 365 * 24 * 60 * 60_000;
/** Of every ten deliveries one is refused. */
const REFUSED_OF = 10;

export type StageOptions = {
  customers: number;
  queue: 'redis' | 'postgres';
  /** How often each customer is synced. */
  everySeconds: number;
  seed: number;
};

export type Stage = {
  pool: pg.Pool;
  queue: SoakQueue;
  sandbox: Sandbox;
  churn: Churn;
  worker: WorkerProcess;
  rows<Row extends object>(text: string, values?: unknown[]): Promise<Row[]>;
  /** What an operator does after a customer signed in again: new tokens for whoever stopped. Says for how many. */
  signInAgain(): Promise<number>;
  close(): Promise<void>;
};

/** Starts it all, the worker last. Null where there is no Redis to be had. */
export async function openStage({
  customers,
  queue: kind,
  everySeconds,
  seed,
}: StageOptions): Promise<Stage | null> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (let end = closers.pop(); end; end = closers.pop()) await end();
  };
  try {
    const postgres = await startEmbeddedPostgres({ settings: throwawaySettings });
    closers.push(postgres.stop);
    await migrateDatabase(postgres.url);
    const pool = new pg.Pool({ connectionString: postgres.url, max: 1, application_name: OWN_NAME });
    pool.on('error', () => {}); // it is Postgres that ends
    closers.push(() => pool.end());
    const queue = kind === 'redis' ? await openRedis(PREFIX) : openPostgresQueue(postgres.url, pool, PREFIX);
    if (!queue) {
      await close();
      return null;
    }
    closers.push(queue.close);
    await migrateQueue(queue.url, PREFIX);

    const churn = createChurn({ customers, seed });
    // A connection cut between the token endpoint's answer and its commit must not cost the customer's sign-in.
    const tokens = { accessTokenTtlMs: 2 * 60_000, refreshTokenGraceMs: 2 * 60_000 };
    const sandbox = await startSandbox({ data: churn.data, logRequests: false, ...tokens });
    closers.push(sandbox.close);
    const webhook = await startWebhook();
    closers.push(webhook.close);
    const settings = {
      DATABASE_URL: postgres.url,
      QUEUE_URL: queue.url,
      QUEUE_PREFIX: PREFIX,
      CREDENTIALS_KEYS: `soak:${randomBytes(32).toString('base64')}`,
      CALICO_API_URL: sandbox.apiUrl,
      CALICO_AUTH_URL: sandbox.authUrl,
      CALICO_CLIENT_ID: sandbox.clientId,
      CALICO_CLIENT_SECRET: sandbox.clientSecret,
      CALICO_RATE_LIMIT: '1000',
      CALICO_PAGE_LIMIT: '20',
      CALICO_TIMEOUT_MS: '2000',
      CALICO_REFRESH_SETTLE_MS: '0',
      SYNC_INTERVAL: `${everySeconds}s`,
      FULL_SYNC_INTERVAL: `${everySeconds * 5}s`,
      SYNC_OVERLAP: '365d',
      SLICE_PAGES: '3',
      EVENTS_WEBHOOK_URL: webhook.url,
      EVENTS_WEBHOOK_SECRET: `whsec_${randomBytes(32).toString('base64')}`,
      LOG_LEVEL: 'error',
    };
    const addTokens = credentialsWriter(settings, sandbox);
    await addTokens(churn.data.customerIds());
    const worker = startWorkerCommand(settings);
    closers.push(async () => (worker.hasEnded() ? null : worker.stop()));
    const rows: Stage['rows'] = async (text, values = []) => (await pool.query(text, values)).rows;
    const signInAgain = async () => {
      const stopped = await rows<{ id: string }>(
        "SELECT customer_id AS id FROM calico.customers WHERE status <> 'active'",
      );
      if (stopped.length > 0) await addTokens(stopped.map(({ id }) => id));
      return stopped.length;
    };
    return { pool, queue, sandbox, churn, worker, rows, signInAgain, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What `customers add` does, without a process a customer. Its connection is gone when it is done: only the worker's count. */
function credentialsWriter(settings: Record<string, string>, sandbox: Sandbox) {
  const { credentials, database } = readConfig(settings, 'credentials', 'database');
  return async (customerIds: readonly string[]) => {
    const db = openDatabase({ url: database.DATABASE_URL, maxConnections: 1 });
    for (const customerId of customerIds) {
      const issued = sandbox.issueTokens(customerId);
      const tokens = {
        accessToken: issued.access_token,
        refreshToken: issued.refresh_token,
        accessExpiresAt: new Date(Date.now() + issued.expires_in * 1_000),
        refreshExpiresAt: new Date(Date.now() + YEAR_MS),
      };
      await db.transaction(async ({ orm }) => {
        await addCustomer(orm, customerId, null);
        await saveCredentials(orm, credentials.CREDENTIALS_KEYS, customerId, tokens);
      });
    }
    await db.close();
  };
}

async function startWebhook(): Promise<{ url: string; close(): Promise<void> }> {
  let deliveries = 0;
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(++deliveries % REFUSED_OF === 0 ? 500 : 204).end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  };
  return { url: `http://127.0.0.1:${port}/`, close };
}
