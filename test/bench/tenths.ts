/**
 * Why the last rows of a large customer come slower than the first: a first load by tenth, and what Postgres did meanwhile.
 * `node test/bench/tenths.ts [rows] [setting=value ...]`, by default 1,000,000 rows and Postgres's own settings; then say
 * `shared_buffers=1GB`. Prints a table of docs/scaling.md. Only the first walk counts: the second writes nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { install } from './installation.ts';
import { cpuOfTree, customerIds, openStand } from './stand.ts';

const [ROWS = '1000000', ...changes] = process.argv.slice(2);
const rows = Number(ROWS);
const PAGE = 100;
const settings = Object.fromEntries(changes.map((change) => change.split('=') as [string, string]));
const [WARM_UP = '', CUSTOMER = ''] = customerIds(2);

/** Since the server's start, or since the load's. */
const LOOK = `SELECT
  (SELECT coalesce(sum(inserted), 0) FROM calico.sync_run_streams s JOIN calico.sync_runs r USING (run_id)
    WHERE r.customer_id = $1 AND s.stream = 'transactions') AS rows,
  (SELECT wal_bytes FROM pg_stat_wal) AS wal,
  (SELECT sum(reads) FROM pg_stat_io WHERE object = 'relation' AND backend_type = 'client backend') AS reads,
  (SELECT sum(writes) FROM pg_stat_io WHERE object = 'relation' AND backend_type = 'client backend') AS writes,
  (SELECT num_timed + num_requested FROM pg_stat_checkpointer) AS checkpoints,
  (SELECT sum(autovacuum_count + autoanalyze_count) FROM pg_stat_user_tables) AS vacuums`;
type Look = Record<'rows' | 'wal' | 'reads' | 'writes' | 'checkpoints' | 'vacuums', string>;

const stand = await openStand({ sizes: [1_000, rows], madeBefore: false, latencyMs: 0 }, settings);
try {
  const databaseUrl = await stand.freshDatabase();
  const client = new pg.Client(databaseUrl);
  await client.connect();
  const installation = await install(databaseUrl, stand.sandbox);
  const worker = installation.startWorker();
  await installation.addCustomers([WARM_UP]);
  await installation.untilEnded([WARM_UP]);
  const look = async () => {
    const { rows: found } = await client.query<Look>(LOOK, [CUSTOMER]);
    const counts = Object.entries(found[0] ?? {}).map(([name, count]) => [name, Number(count)]);
    const at = { seconds: performance.now() / 1000, cpu: cpuOfTree(stand.postgres.pid) };
    return { ...at, ...(Object.fromEntries(counts) as Record<keyof Look, number>) };
  };
  await installation.addCustomers([CUSTOMER]);
  let last = await look();
  process.stdout.write(
    '| rows | rows/s | Postgres, ms of CPU a page | pages it read, and wrote to make room | WAL a row | vacuums and analyzes | checkpoints |\n|---|---|---|---|---|---|---|\n',
  );
  for (let next = rows / 10; next <= rows; ) {
    await sleep(200);
    const now = await look();
    if (now.rows < next) continue;
    const read = now.rows - last.rows;
    const aPage = (count: number) => (count / (read / PAGE)).toFixed(0);
    const cells = [
      now.rows.toLocaleString('en'),
      (read / (now.seconds - last.seconds)).toFixed(0),
      aPage((now.cpu - last.cpu) * 1000),
      `${aPage(now.reads - last.reads)}, ${aPage(now.writes - last.writes)}`,
      ((now.wal - last.wal) / read).toFixed(0),
      now.vacuums - last.vacuums,
      now.checkpoints - last.checkpoints,
    ];
    process.stdout.write(`| ${cells.join(' | ')} |\n`);
    last = now;
    next += rows / 10;
  }
  await worker.kill();
  await Promise.all([installation.close(), client.end()]);
} finally {
  await stand.close();
}
