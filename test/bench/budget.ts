/**
 * How much of the allowed rate three worker processes use, and how often they are told off: `node test/bench/budget.ts
 * [seconds]`. The server lets through 20 requests in any second; the budget is set to the same. Once on Redis, once on Postgres.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { readConfig } from '../../src/config.ts';
import { openDatabase } from '../../src/db/client.ts';
import { saveCredentials } from '../../src/db/credentials.ts';
import { addCustomer } from '../../src/db/customers.ts';
import { migrateDatabase } from '../../src/db/migrate.ts';
import { migrateQueue } from '../../src/queue/connection.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { startSandbox } from '../../src/sandbox/server.ts';
import { asAdmin, urlOfDatabase } from '../support/database-template.ts';
import { findOrStartPostgres, findOrStartRedis } from '../support/servers.ts';

const ALLOWED_PER_SECOND = 20;
const WORKERS = 3;
const WARM_UP_MS = 3_000;
const MEASURED_MS = Number(process.argv[2] ?? 30) * 1_000;
const YEAR_MS = 365 * 24 * 60 * 60_000;

async function measure(postgresUrl: string, queueUrl: string | null): Promise<void> {
  const name = `budget_${randomBytes(4).toString('hex')}`;
  await asAdmin(postgresUrl, `CREATE DATABASE ${name}`);
  const databaseUrl = urlOfDatabase(postgresUrl, name);
  const data = generateData({ customers: 60, transactions: 1_000, seed: 1 });
  const sandbox = await startSandbox({ data, rateLimitPerSecond: ALLOWED_PER_SECOND });
  const settings = {
    DATABASE_URL: databaseUrl,
    QUEUE_URL: queueUrl ?? databaseUrl,
    QUEUE_PREFIX: name,
    CREDENTIALS_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    CALICO_API_URL: sandbox.apiUrl,
    CALICO_AUTH_URL: sandbox.authUrl,
    CALICO_CLIENT_ID: sandbox.clientId,
    CALICO_CLIENT_SECRET: sandbox.clientSecret,
    CALICO_RATE_LIMIT: String(ALLOWED_PER_SECOND),
    CALICO_PAGE_LIMIT: '10',
    CALICO_REFRESH_SETTLE_MS: '0',
    LOG_LEVEL: 'error',
  };
  await migrateDatabase(databaseUrl);
  await migrateQueue(settings.QUEUE_URL, name);
  const keys = readConfig(settings, 'credentials').credentials.CREDENTIALS_KEYS;
  const db = openDatabase({ url: databaseUrl, maxConnections: 2 });
  for (const customerId of data.customerIds()) {
    const { access_token: accessToken, refresh_token: refreshToken } = sandbox.issueTokens(customerId);
    const accessExpiresAt = new Date(Date.now() + 15 * 60_000);
    const refreshExpiresAt = new Date(Date.now() + YEAR_MS);
    await db.transaction(async ({ orm }) => {
      await addCustomer(orm, customerId, null);
      const tokens = { accessToken, refreshToken, accessExpiresAt, refreshExpiresAt };
      await saveCredentials(orm, keys, customerId, tokens);
    });
  }
  await db.close();

  const workers = Array.from({ length: WORKERS }, () => startWorker(settings));
  while (sandbox.requests.length === 0) {
    if (workers.some(({ exitCode }) => exitCode !== null)) throw new Error('a worker ended by itself');
    await sleep(50);
  }
  await sleep(WARM_UP_MS);
  const from = Date.now();
  await sleep(MEASURED_MS);
  const measured = sandbox.requests.filter(({ atMs }) => atMs >= from && atMs < from + MEASURED_MS);
  const refused = sandbox.requestsFor({ status: 429 }).length;
  const used = measured.filter(({ status }) => status !== 429).length;
  const share = (used / (ALLOWED_PER_SECOND * MEASURED_MS)) * 1_000 * 100;
  const stopping = Date.now();
  await Promise.all(workers.map(stop));
  process.stdout.write(
    `${queueUrl ? 'redis' : 'postgres'}: ${share.toFixed(1)} % of the allowed rate used, ` +
      `${refused} of all ${sandbox.requests.length} requests answered 429 ` +
      `(${((refused / sandbox.requests.length) * 100).toFixed(2)} %); stopped in ${Date.now() - stopping} ms\n`,
  );
  await sandbox.close();
  await asAdmin(postgresUrl, `DROP DATABASE ${name} WITH (FORCE)`);
  if (queueUrl) await forget(queueUrl, name);
}

function startWorker(settings: Record<string, string>): ChildProcess {
  const cli = fileURLToPath(new URL('../../src/cli.ts', import.meta.url));
  return spawn(process.execPath, [cli, 'worker'], { env: settings, stdio: ['ignore', 'inherit', 'inherit'] });
}

async function stop(worker: ChildProcess): Promise<void> {
  const ended = once(worker, 'exit');
  worker.kill('SIGTERM');
  await ended;
}

async function forget(url: string, prefix: string): Promise<void> {
  const redis = new Redis(url);
  for await (const keys of redis.scanStream({ match: `${prefix}*` }))
    if (keys.length > 0) await redis.unlink(keys);
  redis.disconnect();
}

const postgres = await findOrStartPostgres();
const redis = await findOrStartRedis();
try {
  if (redis) await measure(postgres.url, redis.url);
  await measure(postgres.url, null);
} finally {
  await redis?.stop();
  await postgres.stop();
}
