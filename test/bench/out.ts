/**
 * How far workers go when Calico takes 200 ms to answer: `node test/bench/out.ts [seconds]`, of each measurement. One worker
 * of concurrency 32; then 1, 2 and 4 processes of concurrency 4, on Redis and on the Postgres queue. First loads of 1,000
 * transactions, more customers than can be done meanwhile. Prints the tables of docs/scaling.md.
 *
 * The ideal is a request under way for each customer that may be, all the time: concurrency / 200 ms. A first load asks
 * for two refreshes, its positions, ten pages and the first one again: what the ideal is in rows follows from the requests.
 */
import { availableParallelism, cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startRedis } from '../support/servers.ts';
import { install } from './installation.ts';
import { type Cost, customerIds, measure, openStand } from './stand.ts';

const LATENCY_MS = 200;
const TRANSACTIONS = 1_000;
const MEASURED_MS = Number(process.argv[2] ?? 20) * 1000;
/** A machine of two cores does less than 20 a second. */
const CUSTOMERS = (20 * (MEASURED_MS + 10_000)) / 1000;
const WARM_UP_MS = 5_000;
const CORES = availableParallelism();

const stand = await openStand({
  sizes: Array.from({ length: CUSTOMERS }, () => TRANSACTIONS),
  madeBefore: false,
  latencyMs: LATENCY_MS,
});
const redis = await startRedis();

type Load = { processes: number; concurrency: number; queueUrl: string | undefined };
/** `busy`: the share of the machine's CPU that anybody used, without what gives way to others (nice). */
type Measured = Load & { requests: number; rows: number; busy: number; cost: Cost };

async function measureLoad(load: Load): Promise<Measured> {
  const databaseUrl = await stand.freshDatabase();
  const client = new pg.Client(databaseUrl);
  client.on('error', () => {}); // the server ends before it where something failed: that is what is to be read
  await client.connect();
  const installation = await install(databaseUrl, stand.sandbox, {
    WORKER_CONCURRENCY: String(load.concurrency),
    ...(load.queueUrl && { QUEUE_URL: load.queueUrl, QUEUE_PREFIX: new URL(databaseUrl).pathname.slice(1) }),
  });
  await installation.addCustomers(customerIds(CUSTOMERS));
  const workers = Array.from({ length: load.processes }, () => installation.startWorker());
  await stand.requestsSince();
  while ((await stand.requestsSince()).length === 0) await sleep(50);
  await sleep(WARM_UP_MS);
  const rowsSoFar = async () => {
    const { rows } = await client.query<{ rows: string }>(
      'SELECT sum(fetched) AS rows FROM calico.sync_run_streams',
    );
    return Number(rows[0]?.rows);
  };
  let [requests, rows, busy] = [0, 0, 0];
  const cost = await measure(
    stand,
    workers.map(({ pid }) => pid),
    async () => {
      await stand.requestsSince();
      const [before, free, from] = [await rowsSoFar(), freeMs(), performance.now()];
      await sleep(MEASURED_MS);
      requests = (await stand.requestsSince()).length;
      rows = (await rowsSoFar()) - before;
      const tookMs = performance.now() - from;
      busy = 1 - (freeMs() - free) / CORES / tookMs;
      return tookMs / 1000;
    },
  );
  await Promise.all(workers.map(({ stop }) => stop()));
  const { rows: left } = await client.query('SELECT FROM calico.customers WHERE last_success_at IS NULL');
  if (left.length < load.processes * load.concurrency)
    throw new Error('no customers were left: measure for less');
  await Promise.all([installation.close(), client.end()]);
  await stand.dropDatabase(databaseUrl);
  return { ...load, requests, rows, busy, cost };
}

const count = (value: number) => Math.round(value).toLocaleString('en');

const freeMs = () => cpus().reduce((sum, { times }) => sum + times.idle + times.nice, 0);

/** What stands in the way of more: a process is one thread, and all of them share the machine, with others too. */
function boundBy({ concurrency, requests, busy, cost }: Measured): string {
  const { seconds, workerCpu, postgresCpu, sandboxCpu } = cost;
  const others = busy * CORES - (workerCpu + postgresCpu + sandboxCpu) / seconds;
  if (busy >= 0.9) return `CPU: all ${CORES} cores, ${Math.max(0, others).toFixed(2)} of them others’`;
  // Requests that come when the thread is at work wait for it: none is left over where the ideal would take all of it.
  const atIdeal = ((workerCpu / requests) * concurrency * 1000) / LATENCY_MS;
  return atIdeal >= 0.9
    ? `CPU: the ideal takes ${atIdeal.toFixed(2)} cores of each worker, whose work is one thread’s`
    : 'the latency';
}

function row(measured: Measured, one: Measured | undefined): string {
  const { processes, concurrency, queueUrl, requests, rows, cost } = measured;
  const ideal = (processes * concurrency * 1000) / LATENCY_MS;
  const perSecond = requests / cost.seconds;
  const cores = (cpu: number) => (cpu / cost.seconds).toFixed(2);
  const scale = one && (requests / cost.seconds / (one.requests / one.cost.seconds)).toFixed(2);
  const cells = [
    queueUrl ? 'Redis' : 'Postgres',
    `${processes} × ${concurrency}`,
    `${perSecond.toFixed(1)} of ${ideal}: ${((perSecond / ideal) * 100).toFixed(0)} %`,
    `${count(rows / cost.seconds)} of ${count((ideal * rows) / requests)}`,
    scale ?? '',
    cores(cost.workerCpu),
    cores(cost.postgresCpu),
    cores(cost.sandboxCpu),
    boundBy(measured),
  ];
  return `| ${cells.join(' | ')} |\n`;
}

const HEAD = `| queue | processes × concurrency | requests/s | rows/s | scale | cores: workers | Postgres | sandbox | bound by |
|---|---|---|---|---|---|---|---|---|
`;

try {
  process.stdout.write(`${HEAD}`);
  for (const queueUrl of [redis?.url, undefined]) {
    process.stdout.write(row(await measureLoad({ processes: 1, concurrency: 32, queueUrl }), undefined));
    let one: Measured | undefined;
    for (const processes of [1, 2, 4]) {
      const measured = await measureLoad({ processes, concurrency: 4, queueUrl });
      one ??= measured;
      process.stdout.write(row(measured, one));
    }
  }
} finally {
  await redis?.stop();
  await stand.close();
}
