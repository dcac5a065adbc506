/**
 * After two hours of outage everybody is due: do the workers stay within the rate they are allowed, and are customers begun
 * in the order in which they were due? `node test/bench/catch-up.ts [customers] [requests a second]`. More are due than one
 * tick lists; two worker processes; Calico refuses what is beyond the rate in any second. On Redis where there is one.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import pg from 'pg';
import { readConfig } from '../../src/config.ts';
import { openDatabase } from '../../src/db/client.ts';
import { saveCredentials } from '../../src/db/credentials.ts';
import { addCustomer } from '../../src/db/customers.ts';
import { migrateQueue } from '../../src/queue/connection.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { findOrStartRedis } from '../support/servers.ts';
import { waitFor } from '../support/wait-for.ts';
import { workerSettings } from './installation.ts';
import { NOBODY, openStand, pathOf } from './stand.ts';

const CUSTOMERS = Number(process.argv[2] ?? 400);
const PER_SECOND = Number(process.argv[3] ?? 20);
const WORKERS = 2;
const CONCURRENCY = 10;
const YEAR_MS = 365 * 24 * 60 * 60_000;

const say = (line: string) => process.stdout.write(`${line}\n`);

const stand = await openStand(NOBODY);
const redis = await findOrStartRedis();
const databaseUrl = await stand.freshDatabase();
const client = new pg.Client(databaseUrl);
await client.connect();
const data = generateData({ customers: CUSTOMERS, transactions: 20, seed: 3 });
const sandbox = await startSandbox({ data, rateLimitPerSecond: PER_SECOND });
const settings = {
  ...workerSettings(databaseUrl, sandbox),
  ...(redis ? { QUEUE_URL: redis.url } : {}),
  QUEUE_PREFIX: `catch_up_${process.pid}`,
  CALICO_RATE_LIMIT: String(PER_SECOND),
  WORKER_CONCURRENCY: String(CONCURRENCY),
};

/** Each was due at an instant of its own in the last two hours. */
async function fill(): Promise<void> {
  const keys = readConfig(settings, 'credentials').credentials.CREDENTIALS_KEYS;
  const db = openDatabase({ url: databaseUrl, maxConnections: 1 });
  const refreshExpiresAt = new Date(Date.now() + YEAR_MS);
  for (const customerId of data.customerIds()) {
    const { access_token: accessToken, refresh_token: refreshToken } = sandbox.issueTokens(customerId);
    const accessExpiresAt = new Date(Date.now() + 15 * 60_000);
    await db.transaction(async ({ orm }) => {
      await addCustomer(orm, customerId, null);
      await saveCredentials(orm, keys, customerId, {
        accessToken,
        refreshToken,
        accessExpiresAt,
        refreshExpiresAt,
      });
    });
  }
  await db.close();
  await client.query(`UPDATE calico.customers SET next_sync_at = now() - interval '2 hours' * random()`);
  await client.query('CREATE TABLE due AS SELECT customer_id, next_sync_at FROM calico.customers');
  await client.query('VACUUM (ANALYZE)');
}

/** The most that was asked in any second, wherever it begins. */
function busiestSecond({ requests }: Pick<Sandbox, 'requests'>): number {
  const times = requests.map(({ atMs }) => atMs).toSorted((a, b) => a - b);
  let first = 0;
  return times.reduce((most, time, at) => {
    while (time - (times[first] ?? 0) >= 1_000) first++;
    return Math.max(most, at - first + 1);
  }, 0);
}

/** For each that was due longer than another and began after it: how many of those others there were, at most. */
async function mostOvertaken(): Promise<number> {
  const { rows } = await client.query<{ rank: string }>(
    `SELECT row_number() OVER (ORDER BY next_sync_at) AS rank
     FROM due JOIN (SELECT customer_id, min(started_at) AS began FROM calico.sync_runs GROUP BY 1) AS run USING (customer_id)
     ORDER BY began, next_sync_at`,
  );
  const ranks = rows.map(({ rank }) => Number(rank));
  return Math.max(...ranks.map((rank, at) => ranks.slice(0, at).filter((earlier) => earlier > rank).length));
}

const LEFT = `SELECT count(*)::int AS left FROM calico.customers WHERE last_success_at IS NULL`;

try {
  await fill();
  await migrateQueue(settings.QUEUE_URL, settings.QUEUE_PREFIX);
  const start = () => fork(pathOf('../../src/cli.ts'), ['worker'], { env: settings });
  const workers: ChildProcess[] = Array.from({ length: WORKERS }, start);
  await waitFor(() => client.query<{ left: number }>(LEFT), {
    describe: 'everybody to be synced',
    until: ({ rows }) => rows[0]?.left === 0,
    timeoutMs: 30 * 60_000,
  });
  const ended = workers.map((worker) => once(worker, 'exit'));
  for (const worker of workers) worker.kill('SIGTERM');
  await Promise.all(ended);

  const { requests } = sandbox;
  const seconds = ((requests.at(-1)?.atMs ?? 0) - (requests[0]?.atMs ?? 0)) / 1_000;
  const refused = sandbox.requestsFor({ status: 429 }).length;
  say(
    `${CUSTOMERS} customers in ${seconds.toFixed(0)} s, queue on ${redis ? 'Redis' : 'Postgres'}: ${requests.length} requests, ` +
      `${((requests.length / seconds / PER_SECOND) * 100).toFixed(1)} % of ${PER_SECOND} a second, ` +
      `${busiestSecond(sandbox)} in the busiest second, ${refused} refused`,
  );
  say(
    `begun before somebody who was due longer: at most ${await mostOvertaken()} at a time; ` +
      `${WORKERS * CONCURRENCY} are worked on at once`,
  );
} finally {
  await client.end();
  await sandbox.close();
  await redis?.stop();
  await stand.close();
}
