/** The product as it is run, for the benchmarks: customers with tokens in a database, workers in processes of their own. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { readConfig } from '../../src/config.ts';
import { type Database, openDatabase } from '../../src/db/client.ts';
import { saveCredentials } from '../../src/db/credentials.ts';
import { addCustomer, requestSync } from '../../src/db/customers.ts';
import { readProgress, readResults } from '../../src/db/run-progress.ts';
import type { RunMode } from '../../src/db/schema-sync.ts';
import { createLog } from '../../src/ops/log.ts';
import { migrateQueue, openQueueConnection } from '../../src/queue/connection.ts';
import { openSyncQueue } from '../../src/queue/enqueue.ts';
import type { SandboxPlace } from './bench-sandbox.ts';
import { issueTokens, pathOf } from './stand.ts';

export type WorkerProcess = {
  pid: number;
  /** SIGTERM, as a supervisor ends it. */
  stop(): Promise<void>;
  /** SIGKILL, between any two instructions. */
  kill(): Promise<void>;
};

export type Installation = {
  db: Database;
  /** Adds them with fresh tokens, due at once, and puts them into the queue. */
  addCustomers(customerIds: readonly string[]): Promise<void>;
  /** As the image starts it; `changes`: settings of this one alone. */
  startWorker(changes?: Readonly<Record<string, string>>): WorkerProcess;
  /** Makes customers due that have been synced before, and puts them into the queue. */
  request(customerIds: readonly string[], mode: RunMode): Promise<void>;
  /** Waits until what was requested has ended. @throws where a run did not succeed */
  untilEnded(customerIds: readonly string[]): Promise<void>;
  /** Closes what the benchmark itself has open; the workers are whoever's who started them. */
  close(): Promise<void>;
};

const YEAR_MS = 365 * 24 * 60 * 60_000;
const LOOK_EVERY_MS = 50;

/** The settings of a worker, as anyone would set them; the queue is on the same Postgres. */
export function workerSettings(databaseUrl: string, sandbox: SandboxPlace) {
  return {
    DATABASE_URL: databaseUrl,
    QUEUE_URL: databaseUrl,
    QUEUE_PREFIX: 'bench',
    CREDENTIALS_KEYS: `bench:${randomBytes(32).toString('base64')}`,
    CALICO_API_URL: sandbox.apiUrl,
    CALICO_AUTH_URL: sandbox.authUrl,
    CALICO_CLIENT_ID: sandbox.clientId,
    CALICO_CLIENT_SECRET: sandbox.clientSecret,
    CALICO_RATE_LIMIT: '10000', // no limit of the API's is measured here
    CALICO_REFRESH_SETTLE_MS: '0',
    LOG_LEVEL: 'warn',
  };
}

/** On a migrated database. `changes`: what is not as a benchmark's worker has it. */
export async function install(
  databaseUrl: string,
  sandbox: SandboxPlace,
  changes: Readonly<Record<string, string>> = {},
): Promise<Installation> {
  const settings = { ...workerSettings(databaseUrl, sandbox), ...changes };
  const { credentials, queue: place } = readConfig(settings, 'credentials', 'queue');
  await migrateQueue(place.QUEUE_URL, place.QUEUE_PREFIX);
  const db = openDatabase({ url: databaseUrl, maxConnections: 1 });
  const connection = openQueueConnection(place.QUEUE_URL, place.QUEUE_PREFIX);
  const queue = await openSyncQueue({ connection, log: createLog('warn') });
  return {
    db,
    addCustomers: async (customerIds) => {
      for (const customerId of customerIds) {
        const tokens = await issueTokens(sandbox, customerId);
        await db.transaction(async ({ orm }) => {
          await addCustomer(orm, customerId, null);
          await saveCredentials(orm, credentials.CREDENTIALS_KEYS, customerId, {
            accessToken: tokens.access_token,
            refreshToken: tokens.refresh_token,
            accessExpiresAt: new Date(Date.now() + 15 * 60_000),
            refreshExpiresAt: new Date(Date.now() + YEAR_MS),
          });
        });
      }
      await queue.enqueueMany(customerIds);
    },
    startWorker: (more = {}) => startWorker({ ...settings, ...more }),
    request: async (customerIds, mode) => {
      await db.run((orm) => requestSync(orm, customerIds, mode, 'manual'));
      await queue.enqueueMany(customerIds);
    },
    untilEnded: async (customerIds) => {
      const asked = { customerIds, since: null };
      for (;;) {
        const { customers, ended } = await db.run((orm) => readProgress(orm, asked));
        if (ended === customers) break;
        await sleep(LOOK_EVERY_MS);
      }
      const [worst] = await db.run((orm) => readResults(orm, asked));
      if (worst?.status !== 'succeeded') throw new Error(`${worst?.customerId}: ${worst?.status}`);
    },
    close: async () => {
      await Promise.all([queue.close(), db.close()]);
    },
  };
}

/** The image's CMD, which `node` begins: its flags are the worker's too. */
const COMMAND = /^CMD \["node", (.*)\]$/m.exec(readFileSync(pathOf('../../Dockerfile'), 'utf8'))?.[1];

function startWorker(env: Readonly<Record<string, string>>): WorkerProcess {
  const command: string[] = JSON.parse(`[${COMMAND}]`);
  const child = spawn(process.execPath, command, {
    env,
    cwd: pathOf('../..'),
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const abandon = () => child.kill('SIGKILL');
  process.once('exit', abandon); // whoever is interrupted leaves none behind
  const onDeath = (code: number | null) => {
    throw new Error(`a worker ended by itself (${code})`); // nobody would see what is waited for
  };
  child.once('exit', onDeath);
  const end = async (signal: NodeJS.Signals) => {
    child.off('exit', onDeath);
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
    process.off('exit', abandon);
  };
  return { pid: child.pid ?? 0, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') };
}
