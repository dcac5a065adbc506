/**
 * What a transaction takes on disk and in the WAL, table by table and index by index, with and without `raw`:
 * `node test/bench/storage.ts [transactions]`. Generated ones of all six kinds, written by the worker's own statements a page
 * at a time: when they are new, and when each has changed once (autovacuum is off, so that what a rewrite leaves is seen).
 */
import pg from 'pg';
import { parseExactJson } from '../../src/calico/json.ts';
import { type Database, openDatabase } from '../../src/db/client.ts';
import { TRANSACTION_KINDS } from '../../src/db/schema.ts';
import { type TransactionRow, transactionsWriter } from '../../src/db/transactions.ts';
import { everyRecordOf } from '../../src/sandbox/data.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { normalizeTransaction } from '../../src/sync/normalize/transactions.ts';
import { NOBODY, openStand } from './stand.ts';

const ROWS = Number(process.argv[2] ?? 50_000);
const PAGE = 100;
const CUSTOMERS = 50;

const TABLES = [...TRANSACTION_KINDS.map((kind) => `${kind}_transactions`), 'transaction_fees'];

const RUN_ID = '00000000-0000-4000-8000-000000000007';

/** Bytes by part: `transactions` (the six kinds together) or `fees`, and what of them. */
type Bytes = Map<string, number>;

/** Each customer's rows. `changed`: with another description, and so another hash. */
function rowsOf(keepRaw: boolean, changed: boolean): Map<string, TransactionRow[]> {
  const data = generateData({ customers: CUSTOMERS, transactions: ROWS / CUSTOMERS, seed: 7 });
  const read = (text: string) => {
    // Of a name that comes twice the last counts, for Postgres too.
    const now = changed ? text.replace(/\}$/, ',"description":"changed"}') : text;
    const row = normalizeTransaction(parseExactJson(now) as object, now, keepRaw);
    return 'row' in row ? [row.row] : [];
  };
  return new Map(
    data
      .customerIds()
      .map((id) => [id, Array.from(everyRecordOf(data, 'transactions', id)).flatMap(read)] as const),
  );
}

/** A page of each customer in turn, as many workers write. */
async function write(db: Database, rows: ReadonlyMap<string, TransactionRow[]>): Promise<void> {
  for (let at = 0; at < ROWS / CUSTOMERS; at += PAGE) {
    for (const [customerId, all] of rows) {
      const owner = { customerId, runId: RUN_ID, passRunId: RUN_ID, walk: 0 };
      const page = all.slice(at, at + PAGE);
      const writer = transactionsWriter(page, true);
      await db.transaction(async (tx) => {
        const { answered } = await writer.write(tx, owner, await writer.find(tx, customerId));
        await answered;
      });
    }
  }
}

/** Every relation of the data tables, and which part of them it is; TOAST has its index with it. */
const RELATIONS = `
  SELECT part.oid, CASE WHEN c.relname = 'transaction_fees' THEN 'fees, ' ELSE 'transactions, ' END || part.name AS part
  FROM pg_class c CROSS JOIN LATERAL (
    SELECT c.oid, 'rows' AS name
    UNION ALL SELECT indexrelid, CASE WHEN indisprimary THEN 'primary key' ELSE 'by time' END FROM pg_index WHERE indrelid = c.oid
    UNION ALL SELECT c.reltoastrelid, 'TOAST'
    UNION ALL SELECT indexrelid, 'TOAST' FROM pg_index WHERE indrelid = c.reltoastrelid
  ) AS part WHERE c.oid = ANY ($1::regclass[])`;

async function bytesOf(client: pg.Client, text: string, values: unknown[] = []): Promise<Bytes> {
  const { rows } = await client.query<{ part: string; bytes: string }>(
    `SELECT part, sum(bytes) AS bytes FROM (${text}) AS of_relations GROUP BY 1 ORDER BY 1 DESC`,
    [TABLES.map((table) => `calico.${table}`), ...values],
  );
  return new Map(rows.map(({ part, bytes }) => [part, Number(bytes)]));
}

const onDisk = (client: pg.Client) =>
  bytesOf(client, `SELECT part, pg_relation_size(oid) AS bytes FROM (${RELATIONS}) AS r`);

/** Without images of whole pages: those come by the checkpoint's clock. A record belongs to the first block that it names. */
const walSince = (client: pg.Client, from: string) =>
  bytesOf(
    client,
    `SELECT part, record_length - fpi_length AS bytes
     FROM pg_get_wal_records_info($2, pg_current_wal_flush_lsn()) AS w
     JOIN (${RELATIONS}) AS r ON pg_relation_filenode(r.oid) = (regexp_match(w.block_ref, 'rel \\d+/\\d+/(\\d+)'))[1]::oid`,
    [from],
  );

async function measure(keepRaw: boolean): Promise<void> {
  const databaseUrl = await stand.freshDatabase();
  const client = new pg.Client(databaseUrl);
  client.on('error', () => {}); // the server ends before it where something failed: that is what is to be read
  await client.connect();
  await client.query('CREATE EXTENSION pg_walinspect');
  for (const table of TABLES)
    await client.query(`ALTER TABLE calico.${table} SET (autovacuum_enabled = off)`);
  const db = openDatabase({ url: databaseUrl, maxConnections: 1 });
  const results: [string, Bytes][] = [];
  for (const changed of [false, true]) {
    const { rows } = await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn() AS lsn');
    await write(db, rowsOf(keepRaw, changed));
    results.push([changed ? 'changed once' : 'new', await onDisk(client)]);
    results.push(['its WAL', await walSince(client, rows[0]?.lsn ?? '')]);
  }
  await db.close();
  say(`\n${ROWS} transactions, ${keepRaw ? 'with' : 'without'} raw; bytes a transaction:`);
  say(''.padEnd(28) + results.map(([name]) => name.padStart(14)).join(''));
  const parts = [...(results[0]?.[1].keys() ?? [])];
  const line = (name: string, of: (bytes: Bytes) => number) =>
    say(name.padEnd(28) + results.map(([, bytes]) => (of(bytes) / ROWS).toFixed(0).padStart(14)).join(''));
  for (const part of parts) line(part, (bytes) => bytes.get(part) ?? 0);
  line('all', (bytes) => [...bytes.values()].reduce((sum, one) => sum + one, 0));
  await sizes(client);
  await client.end();
  await stand.dropDatabase(databaseUrl);
}

/** What a row is made of, and whether Postgres has compressed any. */
async function sizes(client: pg.Client): Promise<void> {
  const { rows } = await client.query<Record<string, string>>(
    `SELECT count(*) AS rows, (SELECT count(*) FROM calico.transaction_fees) AS fees, avg(pg_column_size(t.*))::int AS row,
       avg(pg_column_size(raw))::int AS raw, max(pg_column_size(t.*)) AS longest,
       count(pg_column_compression(raw)) AS compressed, avg(length(transaction_id))::int AS id
     FROM calico.transactions t`,
  );
  const [found] = rows;
  say(
    `${found?.['rows']} rows of ${found?.['row']} bytes (${found?.['raw']} of raw, ids of ${found?.['id']}), the longest ` +
      `${found?.['longest']}; ${found?.['compressed']} have raw compressed; ${found?.['fees']} fees`,
  );
}

const say = (text: string) => process.stdout.write(`${text}\n`);

const stand = await openStand(NOBODY);
try {
  await measure(true);
  await measure(false);
} finally {
  await stand.close();
}
