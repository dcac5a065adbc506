/**
 * `npm run bench`: this worker beside what a user would write instead, and beside what bounds both. One customer, whose pages
 * come one after the other; the same rows for everybody: transactions of all six kinds with fees and raw, 100 a page.
 * Starts its own Postgres (durable, its own defaults), sandbox and worker processes; interleaved, medians of the rounds.
 *
 * A row is a transaction with its fees. The worker's seconds are its run's, from lease to end: two refreshes, the
 * positions and the receipt are in them. A rival's go from its first request to its last commit. Each process has read
 * 2,000 other rows before. Its own memory is the highest resident set while it worked. `node test/bench/throughput.ts [rows] [rounds]`.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { readConfig } from '../../src/config.ts';
import { openDatabase } from '../../src/db/client.ts';
import { saveCredentials } from '../../src/db/credentials.ts';
import { addCustomer, requestSync } from '../../src/db/customers.ts';
import { createLog } from '../../src/ops/log.ts';
import { migrateQueue, openQueueConnection } from '../../src/queue/connection.ts';
import { openSyncQueue } from '../../src/queue/enqueue.ts';
import type { RivalName, RivalTask } from './rivals.ts';
import { answerOf, type Cost, issueTokens, measure, openStand, pathOf, workerSettings } from './stand.ts';

const ROWS = Number(process.argv[2] ?? 50_000);
const ROUNDS = Number(process.argv[3] ?? 3);
const WARM_UP_ROWS = 2_000;
const [WARM_UP, CUSTOMER] = ['customer-0001', 'customer-0002'] as const;
const YEAR_MS = 365 * 24 * 60 * 60_000;
const TABLES = [
  ...['send', 'receive', 'input_only', 'output_only', 'input_output', 'uncategorized'].map(
    (kind) => `${kind}_transactions`,
  ),
  'transaction_fees',
];

const stand = await openStand([WARM_UP_ROWS, ROWS]);
const costs = new Map<string, Cost[]>();
const note = (name: string, cost: Cost) => costs.set(name, [...(costs.get(name) ?? []), cost]);

/** The worker as it is started in production, twice over the same customer: rows that are new, then the same again. */
async function worker(): Promise<string> {
  const databaseUrl = await stand.freshDatabase();
  const settings = workerSettings(databaseUrl, stand.sandbox);
  const { credentials, queue: place } = readConfig(settings, 'credentials', 'queue');
  await migrateQueue(place.QUEUE_URL, place.QUEUE_PREFIX);
  const db = openDatabase({ url: databaseUrl, maxConnections: 1 });
  const connection = openQueueConnection(place.QUEUE_URL, place.QUEUE_PREFIX);
  const queue = await openSyncQueue({ connection, log: createLog('warn') });
  const process = fork(pathOf('../../src/cli.ts'), ['worker'], { env: settings });

  const add = async (customerId: string) => {
    const tokens = await issueTokens(stand.sandbox, customerId);
    await db.transaction(async ({ orm }) => {
      await addCustomer(orm, customerId, null);
      await saveCredentials(orm, credentials.CREDENTIALS_KEYS, customerId, {
        accessToken: tokens.access_token,
        refreshToken: tokens.refresh_token,
        accessExpiresAt: new Date(Date.now() + 15 * 60_000),
        refreshExpiresAt: new Date(Date.now() + YEAR_MS),
      });
    });
  };
  const sync = async (customerId: string, expected: string): Promise<number> => {
    await queue.enqueueSync(customerId);
    for (;;) {
      const { rows } = await client.query<{ seconds: string; status: string; counts: string }>(ENDED, [
        customerId,
      ]);
      const [run] = rows;
      if (run && `${run.status} ${run.counts}` !== expected)
        throw new Error(`${run.status} ${run.counts} instead of ${expected}`);
      if (run) return Number(run.seconds);
      await sleep(50);
    }
  };
  const client = new pg.Client(databaseUrl);
  await client.connect();
  const pid = process.pid ?? 0;
  await add(WARM_UP);
  await sync(WARM_UP, `succeeded ${WARM_UP_ROWS} new, 0 unchanged`);
  await add(CUSTOMER);
  const first = await measure(stand, pid, () => sync(CUSTOMER, `succeeded ${ROWS} new, 0 unchanged`));
  note('this worker, first load', first);
  await client.query('DELETE FROM calico.sync_runs');
  // As autovacuum would have by then. The first to read new rows marks their pages, which writes each of them to the WAL
  // where pages have checksums (PostgreSQL 18's default): that belongs to the first load, whoever reads.
  await client.query('VACUUM (ANALYZE)');
  await db.run((orm) => requestSync(orm, [CUSTOMER], 'full', 'manual'));
  const second = await measure(stand, pid, () => sync(CUSTOMER, `succeeded 0 new, ${ROWS} unchanged`));
  note('this worker, nothing changed', second);
  const ended = once(process, 'exit');
  process.kill('SIGTERM');
  await Promise.all([ended, client.end(), queue.close(), db.close()]);
  return databaseUrl;
}

const ENDED = `SELECT r.status, extract(epoch FROM r.finished_at - r.started_at) AS seconds,
    s.inserted || ' new, ' || s.unchanged || ' unchanged' AS counts
  FROM calico.sync_runs r JOIN calico.sync_run_streams s USING (run_id)
  WHERE r.customer_id = $1 AND s.stream = 'transactions' AND r.finished_at IS NOT NULL`;

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
  note(name, await measure(stand, process.pid ?? 0, () => load(CUSTOMER, ROWS)));
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
  note('COPY', await measure(stand, null, load));
  await client.end();
  await stand.dropDatabase(databaseUrl);
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

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
