/**
 * `npm run bench`: this worker beside what a user would write instead, and beside what bounds both. One customer, whose pages
 * come one after the other; the same rows for everybody: transactions of all six kinds with fees and raw, 100 a page.
 * Starts its own Postgres (durable, its own defaults), sandbox and worker processes; interleaved, medians of the rounds.
 *
 * A row is a transaction with its fees. The worker's seconds are its run's, from lease to end: two refreshes, the
 * positions and the receipt are in them. Of a first load they are given twice: until all rows are there, and with the second
 * walk that proves it, which no rival has; its CPU and WAL are of both. A rival's go from its first request to its last commit. Each process has read
 * 2,000 other rows before. Its own memory is the highest resident set while it worked. `node test/bench/throughput.ts [rows] [rounds]`.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import pg from 'pg';
import { install } from './installation.ts';
import type { RivalName, RivalTask } from './rivals.ts';
import { answerOf, type Cost, issueTokens, measure, median, openStand, pathOf } from './stand.ts';

const ROWS = Number(process.argv[2] ?? 50_000);
const ROUNDS = Number(process.argv[3] ?? 3);
const WARM_UP_ROWS = 2_000;
const [WARM_UP, CUSTOMER] = ['customer-0001', 'customer-0002'] as const;
const TABLES = [
  ...['send', 'receive', 'input_only', 'output_only', 'input_output', 'uncategorized'].map(
    (kind) => `${kind}_transactions`,
  ),
  'transaction_fees',
];

const stand = await openStand({ sizes: [WARM_UP_ROWS, ROWS], madeBefore: true, latencyMs: 0 });
const costs = new Map<string, Cost[]>();
const note = (name: string, cost: Cost) => costs.set(name, [...(costs.get(name) ?? []), cost]);

/** The worker as it is started in production, twice over the same customer: rows that are new, then the same again. */
async function worker(): Promise<string> {
  const databaseUrl = await stand.freshDatabase();
  const installation = await install(databaseUrl, stand.sandbox);
  const client = new pg.Client(databaseUrl);
  client.on('error', () => {}); // the server ends before it where something failed: that is what is to be read
  await client.connect();
  const { pid, stop } = installation.startWorker();
  const ended = async (customerId: string, expected: string): Promise<number> => {
    await installation.untilEnded([customerId]);
    const { rows } = await client.query<{ seconds: string; counts: string }>(LATEST, [customerId]);
    if (rows[0]?.counts !== expected) throw new Error(`${rows[0]?.counts} instead of ${expected}`);
    return Number(rows[0].seconds);
  };
  await installation.addCustomers([WARM_UP]);
  await ended(WARM_UP, `${WARM_UP_ROWS} new, ${WARM_UP_ROWS} unchanged`);
  const first = await measure(stand, [pid], async () => {
    await installation.addCustomers([CUSTOMER]);
    return ended(CUSTOMER, `${ROWS} new, ${ROWS} unchanged`);
  });
  const { rows } = await client.query<{ seconds: string }>(LOADED, [CUSTOMER]);
  note('this worker, first load', { ...first, seconds: Number(rows[0]?.seconds) });
  note('this worker, and its proof', first);
  // As autovacuum would have by then. The first to read new rows marks their pages, which writes each of them to the WAL
  // where pages have checksums (PostgreSQL 18's default): that belongs to the first load, whoever reads.
  await client.query('VACUUM (ANALYZE)');
  const second = await measure(stand, [pid], async () => {
    await installation.request([CUSTOMER], 'full');
    return ended(CUSTOMER, `0 new, ${ROWS} unchanged`);
  });
  note('this worker, nothing changed', second);
  await Promise.all([stop(), client.end(), installation.close()]);
  return databaseUrl;
}

const LATEST = `SELECT extract(epoch FROM r.finished_at - r.started_at) AS seconds,
    s.inserted || ' new, ' || s.unchanged || ' unchanged' AS counts
  FROM calico.sync_runs r JOIN calico.sync_run_streams s USING (run_id)
  WHERE r.customer_id = $1 AND s.stream = 'transactions' ORDER BY r.started_at DESC LIMIT 1`;

/** From the lease to the latest page with a new row. */
const LOADED = `SELECT extract(epoch FROM (SELECT max(first_seen_at) FROM calico.transactions WHERE customer_id = $1)
    - min(started_at)) AS seconds FROM calico.sync_runs WHERE customer_id = $1`;

async function rival(name: RivalName): Promise<void> {
  const databaseUrl = await stand.freshDatabase();
  const place = JSON.stringify({ sandbox: stand.sandbox, databaseUrl });
  const process = fork(pathOf('rivals.ts'), [name, place]);
  const load = async (customerId: string, rows: number) => {
    const { access_token: bearer } = await issueTokens(stand.sandbox, customerId);
    process.send({ customerId, bearer, rows } satisfies RivalTask);
    return answerOf<number>(process);
  };
  await load(WARM_UP, WARM_UP_ROWS);
  note(name, await measure(stand, [process.pid ?? 0], () => load(CUSTOMER, ROWS)));
  process.disconnect();
  await once(process, 'exit');
  await stand.dropDatabase(databaseUrl);
}

/** The server reads the rows from its own files: no client, no network, one transaction. */
async function copy(loaded: string): Promise<void> {
  const from = new pg.Client(loaded);
  await from.connect();
  const { rows } = await from.query<{ data_directory: string }>('SHOW data_directory');
  const file = (table: string) => `'${rows[0]?.data_directory}/bench_${table}'`;
  for (const table of TABLES) {
    const chosen = `SELECT * FROM calico.${table} WHERE customer_id = '${CUSTOMER}'`;
    await from.query(`COPY (${chosen}) TO ${file(table)}`);
  }
  await from.end();
  const databaseUrl = await stand.freshDatabase();
  const client = new pg.Client(databaseUrl);
  await client.connect();
  const load = async () => {
    const began = performance.now();
    await client.query('BEGIN');
    for (const table of TABLES) await client.query(`COPY calico.${table} FROM ${file(table)}`);
    await client.query('COMMIT');
    return (performance.now() - began) / 1000;
  };
  note('COPY', await measure(stand, [], load));
  await client.end();
  await stand.dropDatabase(databaseUrl);
}

function report(): string {
  const middle = (name: string, of: (cost: Cost) => number) => median((costs.get(name) ?? []).map(of));
  const limit = ROWS / middle('COPY', ({ seconds }) => seconds);
  const lines = [...costs].map(([name, all]) => {
    const rate = ROWS / middle(name, ({ seconds }) => seconds);
    const rates = all.map(({ seconds }) => ROWS / seconds);
    const perRow = (of: (cost: Cost) => number) => ((middle(name, of) / ROWS) * 1e6).toFixed(0);
    return [
      name.padEnd(30),
      rate.toFixed(0).padStart(8),
      `${Math.min(...rates).toFixed(0)}-${Math.max(...rates).toFixed(0)}`.padStart(15),
      (rate / limit).toFixed(3).padStart(8),
      middle(name, ({ workerCpu }) => workerCpu)
        .toFixed(2)
        .padStart(9),
      perRow(({ workerCpu }) => workerCpu).padStart(7),
      middle(name, ({ postgresCpu }) => postgresCpu)
        .toFixed(2)
        .padStart(9),
      perRow(({ postgresCpu }) => postgresCpu).padStart(7),
      (middle(name, ({ wal }) => wal) / ROWS).toFixed(0).padStart(8),
      (middle(name, ({ memory }) => memory) / 2 ** 20).toFixed(0).padStart(8),
    ].join('');
  });
  const head = `${''.padEnd(30)}  rows/s          range  of COPY worker s  us/row  server s us/row WAL/row      MiB`;
  return [`${ROWS} rows of one customer, 100 a page, medians of ${ROUNDS}`, head, ...lines, ''].join('\n');
}

try {
  for (let round = 0; round < ROUNDS; round++) {
    const loaded = await worker();
    await rival('row-at-a-time');
    await rival('drizzle');
    await copy(loaded);
    await rival('http and JSON.parse');
    await stand.dropDatabase(loaded);
  }
  process.stdout.write(report());
} finally {
  await stand.close();
}
