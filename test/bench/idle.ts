/**
 * What a worker and its Postgres do while none of very many customers is due: CPU and WAL over a minute, with the queue on
 * Redis, on Postgres, and with a webhook. `node test/bench/idle.ts [customers] [seconds]` (Linux).
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { migrateQueue } from '../../src/queue/connection.ts';
import { findOrStartRedis } from '../support/servers.ts';
import { waitFor } from '../support/wait-for.ts';
import { workerSettings } from './installation.ts';
import { measure, NOBODY, openStand, pathOf } from './stand.ts';

const CUSTOMERS = Number(process.argv[2] ?? 100_000);
const SECONDS = Number(process.argv[3] ?? 60);
/** What starting costs, and Postgres's own after the customers were written, is over by then. */
const SETTLE_MS = 15_000;

const stand = await openStand(NOBODY);
const redis = await findOrStartRedis();
const databaseUrl = await stand.freshDatabase();
const client = new pg.Client(databaseUrl);
await client.connect();

async function idle(name: string, settings: Record<string, string>): Promise<void> {
  await migrateQueue(settings['QUEUE_URL'] ?? '', settings['QUEUE_PREFIX'] ?? '');
  const worker = fork(pathOf('../../src/cli.ts'), ['worker'], { env: settings });
  await waitFor(() => client.query<{ here: number }>(CONNECTED), {
    describe: 'the worker to ask Postgres',
    timeoutMs: 120_000,
    until: ({ rows }) => (rows[0]?.here ?? 0) > 0,
  });
  await sleep(SETTLE_MS);
  const cost = await measure(stand, [worker.pid ?? 0], async () => {
    await sleep(SECONDS * 1000);
    return SECONDS;
  });
  const percent = (seconds: number) => `${((seconds / cost.seconds) * 100).toFixed(2)} %`;
  process.stdout.write(
    `${name}: worker ${percent(cost.workerCpu)}, Postgres ${percent(cost.postgresCpu)} of one core; ` +
      `${(cost.wal / SECONDS).toFixed(0)} bytes of WAL a second\n`,
  );
  const ended = once(worker, 'exit');
  worker.kill('SIGTERM');
  await ended;
}

const CONNECTED = `SELECT count(*)::int AS here FROM pg_stat_activity WHERE application_name = 'calico-sync'`;

try {
  await client.query(
    `INSERT INTO calico.customers (customer_id, next_sync_at)
     SELECT 'customer-' || i, now() + interval '1 day' FROM generate_series(1, $1::int) i`,
    [CUSTOMERS],
  );
  await client.query('VACUUM (ANALYZE) calico.customers');
  const settings = { ...workerSettings(databaseUrl, stand.sandbox), QUEUE_PREFIX: `idle_${process.pid}` };
  if (redis) await idle('queue on Redis', { ...settings, QUEUE_URL: redis.url });
  await idle('queue on Postgres', settings);
  const secret = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
  const events = { EVENTS_WEBHOOK_URL: 'http://127.0.0.1:9/', EVENTS_WEBHOOK_SECRET: secret };
  await idle('queue on Postgres, and a webhook', { ...settings, ...events });
} finally {
  await client.end();
  await redis?.stop();
  await stand.close();
}
