/**
 * Does a large customer cost more a row than a small one? `node test/bench/flat.ts [rows] [rows]`, by default 100,000 and
 * 1,000,000 transactions of one customer: once new, once unchanged, and once with its worker killed (SIGKILL) at 50 % and
 * at 99 %. Prints the table of docs/scaling.md.
 *
 * Memory is the worker's highest resident set; a tenth's rate is told by when the sandbox was asked for its pages. A
 * resumed run is the first thing that a process does: its time goes from the lease to its first request for a page.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { migrateQueue } from '../../src/queue/connection.ts';
import type { SeenRequest } from './bench-sandbox.ts';
import { install } from './installation.ts';
import { measure, memoryOf, openStand } from './stand.ts';

const [FEW = 100_000, MANY = 1_000_000] = process.argv.slice(2).map(Number);
const PAGE = 100;
const WARM_UP_ROWS = 1_000;
const WARM_UP = 'customer-0001';
const KILLED_AT = [0.5, 0.99] as const;

const stand = await openStand({ sizes: [WARM_UP_ROWS, FEW, MANY], madeBefore: false, latencyMs: 0 });

/** Rows a second by tenth, and the time after the last page, when the run looks for rows that are gone. */
type Pass = { rates: number[]; endMs: number };
type Measured = { idle: number; memory: number; fresh: Pass; same: Pass; resumed: string[] };

async function measureCustomer(customerId: string, rows: number): Promise<Measured> {
  const databaseUrl = await stand.freshDatabase();
  const client = new pg.Client(databaseUrl);
  client.on('error', () => {}); // the server ends before it where something failed: that is what is to be read
  await client.connect();
  const installation = await install(databaseUrl, stand.sandbox);
  let worker = installation.startWorker();
  await installation.addCustomers([WARM_UP]);
  await installation.untilEnded([WARM_UP]);
  const idle = memoryOf(worker.pid, 'VmRSS');

  let memory = 0;
  const pass = async (begin: () => Promise<void>): Promise<Pass> => {
    await stand.requestsSince();
    const cost = await measure(stand, [worker.pid], async () => {
      await begin();
      await installation.untilEnded([customerId]);
      return 0;
    });
    memory = Math.max(memory, cost.memory);
    const atPage = timesOf(await stand.requestsSince());
    const endMs = (await latest(client, customerId, 'finished_at')) - atPage(rows);
    return { rates: ratesByTenth(atPage, rows), endMs };
  };
  const fresh = await pass(() => installation.addCustomers([customerId]));
  await client.query('VACUUM (ANALYZE)'); // as autovacuum would have by then
  const same = await pass(() => installation.request([customerId], 'full'));

  await installation.request([customerId], 'full');
  const resumed: string[] = [];
  for (const share of KILLED_AT) {
    await untilPage(client, customerId, Math.floor((share * rows) / PAGE));
    memory = Math.max(memory, memoryOf(worker.pid, 'VmHWM'));
    await worker.kill();
    await client.query('UPDATE calico.customers SET lease_until = now()');
    // The queue is lost with it: else the dead worker's job would be in the way for half a minute.
    const lost = `bench_${KILLED_AT.indexOf(share)}`;
    await migrateQueue(databaseUrl, lost);
    worker = installation.startWorker({ QUEUE_PREFIX: lost });
    resumed.push(await timeToFirstPage(client, customerId));
  }
  await installation.untilEnded([customerId]);
  await Promise.all([worker.stop(), installation.close(), client.end()]);
  await stand.dropDatabase(databaseUrl);
  return { idle, memory, fresh, same, resumed };
}

/** When the page was asked for that begins at a row; after the last there is the second look at the first. */
function timesOf(seen: readonly SeenRequest[]): (row: number) => number {
  const pages = seen.filter(({ endpoint }) => endpoint === 'transactions');
  return (row) => pages[Math.round(row / PAGE)]?.atMs ?? Number.NaN;
}

function ratesByTenth(atPage: (row: number) => number, rows: number): number[] {
  const at = (tenth: number) => atPage((tenth * rows) / 10);
  return Array.from({ length: 10 }, (_, tenth) => rows / 10 / ((at(tenth + 1) - at(tenth)) / 1000));
}

/** A time of the customer's latest run, in milliseconds. All clocks here are the same machine's. */
async function latest(
  client: pg.Client,
  customerId: string,
  column: 'started_at' | 'finished_at',
): Promise<number> {
  const { rows } = await client.query<{ at: string }>(
    `SELECT extract(epoch FROM ${column}) * 1000 AS at FROM calico.sync_runs
     WHERE customer_id = $1 ORDER BY started_at DESC LIMIT 1`,
    [customerId],
  );
  return Number(rows[0]?.at);
}

async function untilPage(client: pg.Client, customerId: string, page: number): Promise<void> {
  const text = `SELECT pages_done FROM calico.checkpoints
    WHERE customer_id = $1 AND stream = 'transactions' AND pass_run_id IS NOT NULL`;
  for (;;) {
    const { rows } = await client.query<{ pages_done: number }>(text, [customerId]);
    if ((rows[0]?.pages_done ?? 0) >= page) return;
    await sleep(20);
  }
}

/** From its lease, with the two refreshes before it. */
async function timeToFirstPage(client: pg.Client, customerId: string): Promise<string> {
  await stand.requestsSince(); // the killed worker's
  const seen: SeenRequest[] = [];
  while (!seen.some(({ endpoint }) => endpoint === 'transactions')) {
    await sleep(20);
    seen.push(...(await stand.requestsSince()));
  }
  const leasedAt = await latest(client, customerId, 'started_at');
  const until = (wanted: string) =>
    Math.round((seen.find(({ endpoint }) => endpoint === wanted)?.atMs ?? Number.NaN) - leasedAt);
  return `${until('transactions')} ms (first refresh after ${until('refreshAssets')})`;
}

function report(few: Measured, many: Measured): string {
  const MiB = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
  const count = (value: number) => Math.round(value).toLocaleString('en');
  const tenths = ({ rates }: Pass) => {
    const [first = 0, last = 0] = [rates.at(0), rates.at(-1)];
    const slowest = count(Math.min(...rates));
    return `${count(first)} and ${count(last)} rows/s: ${(last / first).toFixed(2)}; slowest ${slowest}`;
  };
  const lines: [string, (of: Measured) => string][] = [
    ['memory after a small customer', ({ idle }) => MiB(idle)],
    ['highest memory', ({ memory }) => MiB(memory)],
    ['new rows, first and last tenth', ({ fresh }) => tenths(fresh)],
    ['unchanged rows, first and last tenth', ({ same }) => tenths(same)],
    ['look for rows that are gone', ({ same }) => `${count(same.endMs)} ms`],
    ...KILLED_AT.map((share, index): [string, (of: Measured) => string] => [
      `killed at ${share * 100} %, lease to first page`,
      ({ resumed }) => resumed[index] ?? '',
    ]),
  ];
  return [
    `| | ${count(FEW)} transactions | ${count(MANY)} |`,
    '|---|---|---|',
    ...lines.map(([name, of]) => `| ${name} | ${of(few)} | ${of(many)} |`),
    `\nHighest memory at ${count(MANY)} to that at ${count(FEW)}: ${(many.memory / few.memory).toFixed(2)}.\n`,
  ].join('\n');
}

try {
  const few = await measureCustomer('customer-0002', FEW);
  process.stdout.write(report(few, await measureCustomer('customer-0003', MANY)));
} finally {
  await stand.close();
}
