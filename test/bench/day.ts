/**
 * What a customer costs a day: `node test/bench/day.ts [customers] [rounds]`. Customers of 1,000 transactions are loaded, then
 * synced as they are every hour (nothing new) and every week (everything again); medians of the rounds, on Redis and on the
 * Postgres queue. Prints the tables of docs/scaling.md, with what a million of them would need.
 */
import pg from 'pg';
import type { RunMode } from '../../src/db/schema-sync.ts';
import { startRedis } from '../support/servers.ts';
import { install } from './installation.ts';
import { customerIds, measure, median, openStand } from './stand.ts';

const CUSTOMERS = Number(process.argv[2] ?? 200);
const ROUNDS = Number(process.argv[3] ?? 3);
const TRANSACTIONS = 1_000;
const SYNCS_A_DAY = { incremental: 24 - 1 / 7, full: 1 / 7 } as const;

const stand = await openStand({
  sizes: Array.from({ length: CUSTOMERS }, () => TRANSACTIONS),
  madeBefore: false,
  latencyMs: 0,
});
const redis = await startRedis();

/** Of one sync, or of a day: numbers of requests and records; CPU in milliseconds; bytes. */
type Figures = {
  requests: number;
  records: number;
  workerMs: number;
  postgresMs: number;
  wal: number;
  stored: number;
};
const UNITS: Record<keyof Figures, string> = {
  requests: 'requests',
  records: 'records read',
  workerMs: 'ms of the worker’s CPU',
  postgresMs: 'ms of Postgres’s CPU',
  wal: 'bytes of WAL',
  stored: 'bytes stored for good',
};
const NAMES = Object.keys(UNITS) as (keyof Figures)[];
const each = (of: (name: keyof Figures) => number) =>
  Object.fromEntries(NAMES.map((name) => [name, of(name)])) as Figures;

async function measureDay(
  queueUrl: string | undefined,
): Promise<{ byMode: Record<RunMode, Figures>; stored: number }> {
  const databaseUrl = await stand.freshDatabase();
  const client = new pg.Client(databaseUrl);
  client.on('error', () => {}); // the server ends before it where something failed: that is what is to be read
  await client.connect();
  const number = async (text: string) => Number((await client.query<{ n: string }>(text)).rows[0]?.n);
  const ids = customerIds(CUSTOMERS);
  const installation = await install(databaseUrl, stand.sandbox, queueUrl ? { QUEUE_URL: queueUrl } : {});
  const empty = await number(SIZE);
  const worker = installation.startWorker();
  await installation.addCustomers(ids);
  await installation.untilEnded(ids);
  await client.query('VACUUM (ANALYZE)'); // as autovacuum would have by then
  const stored = ((await number(SIZE)) - empty) / CUSTOMERS;

  const round = async (mode: RunMode): Promise<Figures> => {
    const [records, bytes] = [await number(FETCHED), await number(GROWING)];
    await stand.requestsSince();
    const cost = await measure(stand, [worker.pid], async () => {
      await installation.request(ids, mode);
      await installation.untilEnded(ids);
      return 0;
    });
    const sums: Figures = {
      requests: (await stand.requestsSince()).length,
      records: (await number(FETCHED)) - records,
      workerMs: cost.workerCpu * 1000,
      postgresMs: cost.postgresCpu * 1000,
      wal: cost.wal,
      stored: (await number(GROWING)) - bytes,
    };
    return each((name) => sums[name] / CUSTOMERS);
  };
  const rounds = async (mode: RunMode) => {
    const all: Figures[] = [];
    while (all.length < ROUNDS) all.push(await round(mode));
    return each((name) => median(all.map((figures) => figures[name])));
  };
  const byMode = { incremental: await rounds('incremental'), full: await rounds('full') };
  await Promise.all([worker.stop(), installation.close(), client.end()]);
  await stand.dropDatabase(databaseUrl);
  return { byMode, stored };
}

const SIZE = 'SELECT pg_database_size(current_database()) AS n';
const FETCHED = 'SELECT sum(fetched) AS n FROM calico.sync_run_streams';
/** Of every run a row stays, or some do. */
const GROWING = `SELECT sum(pg_total_relation_size(format('calico.%I', name))) AS n
  FROM unnest(ARRAY['sync_runs', 'sync_run_streams', 'event_outbox']) AS name`;

const count = (value: number) => (value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en'));

function report(where: string, { byMode, stored }: Awaited<ReturnType<typeof measureDay>>): string {
  const { incremental, full } = byMode;
  const day = each((name) => SYNCS_A_DAY.incremental * incremental[name] + SYNCS_A_DAY.full * full[name]);
  const rows = NAMES.map(
    (name) =>
      `| ${UNITS[name]} | ${count(incremental[name])} | ${count(full[name])} | ${count(day[name])} | ${count((day[name] * 1e6) / 86_400)} |`,
  );
  return [
    `Queue on ${where}; ${count(stored)} bytes a customer in Postgres once it is loaded.\n`,
    '| | hourly sync | weekly full one | a day | of a million customers, a second |',
    '|---|---|---|---|---|',
    ...rows,
    '\n',
  ].join('\n');
}

try {
  if (redis) process.stdout.write(report('Redis', await measureDay(redis.url)));
  process.stdout.write(report('Postgres', await measureDay(undefined)));
} finally {
  await redis?.stop();
  await stand.close();
}
