/**
 * What very many customers cost a worker while few of them are due: `node test/bench/wide.ts [customers] [due]`. The tick,
 * on Redis and on Postgres, with an empty queue and again when it is full; what it reads, also where all are due and wait; how
 * evenly runs that have ended start again. Its own Postgres with its own defaults.
 */
import { Queue, type QueueOptions } from 'bullmq';
import pg from 'pg';
import { type Database, openDatabase } from '../../src/db/client.ts';
import { listDueCustomers } from '../../src/db/customers.ts';
import { nextSlot } from '../../src/db/runs.ts';
import { customers } from '../../src/db/schema-sync.ts';
import { createLog } from '../../src/ops/log.ts';
import { migrateQueue, openQueueConnection } from '../../src/queue/connection.ts';
import { openSyncQueue, type SyncQueue } from '../../src/queue/enqueue.ts';
import { QUEUE_NAME } from '../../src/queue/job.ts';
import { startTick } from '../../src/queue/tick.ts';
import { nodesOf, openPlanDoor } from '../support/plans.ts';
import { findOrStartRedis } from '../support/servers.ts';
import { cpuOfTree, NOBODY, openStand } from './stand.ts';

const CUSTOMERS = Number(process.argv[2] ?? 100_000);
const DUE = Number(process.argv[3] ?? 1_000);
const WARM_UP = 5;
const ROUNDS = 50;

const say = (line: string) => process.stdout.write(`${line}\n`);

const stand = await openStand(NOBODY);
const redis = await findOrStartRedis();
const databaseUrl = await stand.freshDatabase();
const client = new pg.Client(databaseUrl);
await client.connect();

/** All are due within the hour to come. */
async function fill(): Promise<void> {
  await client.query(
    `INSERT INTO calico.customers (customer_id, next_sync_at)
     SELECT 'customer-' || i, now() + interval '1 hour' * random() FROM generate_series(1, $1::int) i`,
    [CUSTOMERS],
  );
}

/** Evenly over the table. */
async function makeDue(count: number): Promise<void> {
  await client.query(
    `UPDATE calico.customers SET next_sync_at = now() - interval '1 hour' * random()
     WHERE customer_id IN (SELECT 'customer-' || i FROM generate_series(1, $1::int, $1::int / $2::int) i)`,
    [CUSTOMERS, count],
  );
  await client.query('VACUUM (ANALYZE) calico.customers');
}

/** One tick as the worker's is (src/app.ts). */
async function tick(db: Database, queue: SyncQueue): Promise<Tick> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const postgresBefore = cpuOfTree(stand.postgres.pid);
  const before = { ms: performance.now(), own: process.cpuUsage() };
  const ticking = startTick({
    everyMs: 3_600_000,
    listDue: (limit) => db.run((orm) => listDueCustomers(orm, limit)),
    queue,
    log: createLog('warn'),
    onTick: () => resolve(),
  });
  await promise;
  const tookMs = performance.now() - before.ms;
  const { user, system } = process.cpuUsage(before.own);
  const postgresCpuMs = (cpuOfTree(stand.postgres.pid) - postgresBefore) * 1_000;
  await ticking.stop();
  return { tookMs, ownCpuMs: (user + system) / 1_000, postgresCpuMs };
}

/** The first tick fills an empty queue, the second finds it full. Connections are warm, as a worker's are. */
async function ticks(db: Database, name: string, queueUrl: string): Promise<void> {
  const prefix = `wide_${process.pid}`;
  await migrateQueue(queueUrl, prefix);
  const connection = openQueueConnection(queueUrl, prefix);
  const queue = await openSyncQueue({ connection, log: createLog('warn') });
  const bull = new Queue(
    QUEUE_NAME,
    { connection: connection.where } as QueueOptions<string>,
    connection.backend,
  );
  const first: Tick[] = [];
  const second: Tick[] = [];
  let queued = 0;
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    const seen = [await tick(db, queue), await tick(db, queue)] as const;
    queued = (await queue.counts()).waiting;
    await bull.drain();
    if (round < 0) continue;
    first.push(seen[0]);
    second.push(seen[1]);
  }
  await bull.obliterate({ force: true });
  await bull.close();
  await queue.close();
  say(`a tick, queue on ${name}: ${described(first)}; ${queued} wait in the queue then`);
  say(`  the next one: ${described(second)}`);
}

/** Milliseconds by the clock, and of CPU here and in Postgres. */
type Tick = { tookMs: number; ownCpuMs: number; postgresCpuMs: number };

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

function described(ticks: readonly Tick[]): string {
  const took = ticks.map(({ tookMs }) => tookMs).toSorted((a, b) => a - b);
  const [least, middle, most] = [took[0], took[took.length >> 1], took.at(-1)].map((ms) => ms?.toFixed(1));
  const cpu = [
    mean(ticks.map(({ ownCpuMs }) => ownCpuMs)),
    mean(ticks.map(({ postgresCpuMs }) => postgresCpuMs)),
  ];
  return `${middle} ms (${least} to ${most}), CPU ${cpu[0]?.toFixed(1)} ms and ${cpu[1]?.toFixed(1)} ms of Postgres`;
}

async function reads(): Promise<void> {
  const door = await openPlanDoor(databaseUrl, { analyze: true });
  const db = openDatabase({ url: door.url, maxConnections: 1 });
  await db.run((orm) => listDueCustomers(orm, 1_000));
  const seen = door.take();
  await db.close();
  await door.close();
  for (const { plan } of seen) {
    const scans = nodesOf(plan).filter((node) => node['Relation Name'] ?? node['Index Name']);
    const text = scans.map(
      (node) =>
        `${node['Node Type']} ${node['Index Name'] ?? node['Relation Name']}: ${node['Actual Rows']} rows, ` +
        `${node['Rows Removed by Filter'] ?? 0} passed over, ` +
        `${(node['Shared Hit Blocks'] ?? 0) + (node['Shared Read Blocks'] ?? 0)} buffers`,
    );
    say(`a tick reads: ${text.join('; ')}`);
  }
}

/** Everybody's run ends at the same instant: how many start in the busiest minute of the interval that follows? */
async function spread(db: Database, intervalMs: number): Promise<void> {
  await db.run((orm) => orm.update(customers).set({ nextSyncAt: nextSlot(intervalMs) }));
  const { rows } = await client.query<{ starts: string; minutes: string; busiest: string }>(
    `SELECT sum(starts) AS starts, count(*) AS minutes, max(starts) AS busiest FROM
       (SELECT count(*) AS starts FROM calico.customers
        GROUP BY mod(extract(epoch FROM next_sync_at)::bigint, $1) / 60) AS minute`,
    [intervalMs / 1000],
  );
  const [{ minutes, busiest } = { minutes: '0', busiest: '0' }] = rows;
  const mean = CUSTOMERS / Number(minutes);
  say(
    `starts of ${CUSTOMERS} customers over ${minutes} minutes: ${mean.toFixed(0)} a minute, ` +
      `the busiest ${busiest}, ${(Number(busiest) / mean).toFixed(3)} of the mean`,
  );
}

const db = openDatabase({ url: databaseUrl, maxConnections: 2 });
try {
  await fill();
  await makeDue(DUE);
  await reads();
  if (redis) await ticks(db, 'Redis', redis.url);
  await ticks(db, 'Postgres', databaseUrl);
  // All are due but wait: what a tick passes over where Calico fails for everybody at once.
  await client.query(
    `UPDATE calico.customers SET next_sync_at = now(), not_before = now() + interval '1 hour'`,
  );
  await client.query('VACUUM (ANALYZE) calico.customers');
  await reads();
  await client.query(`UPDATE calico.customers SET not_before = NULL`);
  await spread(db, 60 * 60_000);
  await spread(db, 24 * 60 * 60_000);
} finally {
  await Promise.all([db.close(), client.end()]);
  await redis?.stop();
  await stand.close();
}
