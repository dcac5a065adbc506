/**
 * How much of the allowed rate three worker processes use, and how often they are told off: `node test/bench/budget.ts
 * [seconds]`. The server lets through 20 requests in any second; the budget is set to the same. Once on Redis, once on Postgres.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { migrateDatabase } from '../../src/db/migrate.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { startSandbox } from '../../src/sandbox/server.ts';
import { asAdmin, urlOfDatabase } from '../support/database-template.ts';
import { findOrStartPostgres, findOrStartRedis } from '../support/servers.ts';
import { install } from './installation.ts';

const ALLOWED_PER_SECOND = 20;
const WORKERS = 3;
const WARM_UP_MS = 3_000;
const MEASURED_MS = Number(process.argv[2] ?? 30) * 1_000;

async function measure(postgresUrl: string, queueUrl: string | null): Promise<void> {
  const name = `budget_${randomBytes(4).toString('hex')}`;
  await asAdmin(postgresUrl, `CREATE DATABASE ${name}`);
  const databaseUrl = urlOfDatabase(postgresUrl, name);
  const data = generateData({ customers: 60, transactions: 1_000, seed: 1 });
  const sandbox = await startSandbox({ data, rateLimitPerSecond: ALLOWED_PER_SECOND });
  await migrateDatabase(databaseUrl);
  const installation = await install(databaseUrl, sandbox, {
    QUEUE_URL: queueUrl ?? databaseUrl,
    QUEUE_PREFIX: name,
    CALICO_RATE_LIMIT: String(ALLOWED_PER_SECOND),
    CALICO_PAGE_LIMIT: '10',
    LOG_LEVEL: 'error',
  });
  await installation.addCustomers(data.customerIds());

  const workers = Array.from({ length: WORKERS }, () => installation.startWorker());
  while (sandbox.requests.length === 0) await sleep(50);
  await sleep(WARM_UP_MS);
  const from = Date.now();
  await sleep(MEASURED_MS);
  const measured = sandbox.requests.filter(({ atMs }) => atMs >= from && atMs < from + MEASURED_MS);
  const refused = sandbox.requestsFor({ status: 429 }).length;
  const used = measured.filter(({ status }) => status !== 429).length;
  const share = (used / (ALLOWED_PER_SECOND * MEASURED_MS)) * 1_000 * 100;
  const stopping = Date.now();
  await Promise.all(workers.map(({ stop }) => stop()));
  process.stdout.write(
    `${queueUrl ? 'redis' : 'postgres'}: ${share.toFixed(1)} % of the allowed rate used, ` +
      `${refused} of all ${sandbox.requests.length} requests answered 429 ` +
      `(${((refused / sandbox.requests.length) * 100).toFixed(2)} %); stopped in ${Date.now() - stopping} ms\n`,
  );
  await installation.close();
  await sandbox.close();
  await asAdmin(postgresUrl, `DROP DATABASE ${name} WITH (FORCE)`);
  if (queueUrl) await forget(queueUrl, name);
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
