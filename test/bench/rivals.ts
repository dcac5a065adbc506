/**
 * What a user would write instead of this worker, each as one run over a customer's pages: the same requests, the same
 * reading of them, the same tables, one transaction a page with the next cursor in it. No leases, no receipts, nothing set
 * aside, nothing moved between tables, no look at what changed. Forked with a name; each message is a customer to load.
 */
import { getTableColumns, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { getTableConfig, type PgTable } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { createCalicoClient } from '../../src/calico/client.ts';
import { pageQuery } from '../../src/calico/contract.ts';
import { fetchPage, type Page } from '../../src/calico/pages.ts';
import { TRANSACTION_KINDS, transactionFees, transactionTables } from '../../src/db/schema.ts';
import { checkpoints } from '../../src/db/schema-sync.ts';
import type { TransactionRow } from '../../src/db/transactions.ts';
import { normalizeTransaction } from '../../src/sync/normalize/transactions.ts';
import type { SandboxPlace } from './bench-sandbox.ts';

export type RivalName = keyof typeof RIVALS;
export type RivalTask = { customerId: string; bearer: string; rows: number };

type Task = RivalTask & { sandbox: SandboxPlace; databaseUrl: string };
type Rival = (task: Task) => Promise<number>;

const PAGE = 100;
const RUN_ID = '00000000-0000-4000-8000-000000000005';
const signal = new AbortController().signal;

/** Every read of a page that ends in rows is the worker's own, so that what is compared is the writing. */
async function* pagesOf({ sandbox, bearer }: Task): AsyncGenerator<Page, void, void> {
  const client = createCalicoClient({ ...sandbox, timeoutMs: 30_000, maxBodyBytes: 1 << 24, now: Date.now });
  const request = { endpoint: 'transactions', limit: PAGE, startTime: null, bearer, signal } as const;
  for (let cursor: string | null = null, isFirst = true; isFirst || cursor !== null; isFirst = false) {
    const page = await fetchPage(client, { ...request, cursor });
    yield page;
    cursor = page.nextCursor;
  }
}

type Row = Record<string, unknown>;
type Written = { table: PgTable; rows: Row[] };

/** A page as rows by table, the fees last. */
function rowsOf(page: Page, customerId: string): Written[] {
  const { records } = page;
  const read = Array.from({ length: records.length }, (_none, index) =>
    normalizeTransaction(records.read(index), records.sourceOf(index), true),
  );
  const transactions = read.flatMap((one) => ('row' in one ? [one.row] : []));
  const owner = { customerId, lastRunId: RUN_ID };
  const ofKind = (kind: TransactionRow['kind']) =>
    transactions.filter((row) => row.kind === kind).map((row) => ({ ...row, ...owner }));
  const fees = transactions.flatMap(({ providerId, transactionId, fees: items }) =>
    items().map((fee) => ({ ...fee, ...owner, providerId, transactionId })),
  );
  const written = TRANSACTION_KINDS.map((kind) => ({ table: transactionTables[kind], rows: ofKind(kind) }));
  return [...written, { table: transactionFees, rows: fees }].filter(({ rows }) => rows.length > 0);
}

const RIVALS = {
  'row-at-a-time': async (task) => {
    const client = new pg.Client(task.databaseUrl);
    await client.connect();
    let rows = 0;
    for await (const page of pagesOf(task)) {
      await client.query('BEGIN');
      for (const { table, rows: ofTable } of rowsOf(page, task.customerId)) {
        const { name, text, toValues } = statementFor(table);
        for (const row of ofTable) await client.query({ name, text, values: toValues(row) });
      }
      await client.query({
        name: 'checkpoint',
        text: CHECKPOINT,
        values: [task.customerId, page.nextCursor],
      });
      await client.query('COMMIT');
      rows += page.records.length;
    }
    await client.end();
    return rows;
  },
  drizzle: async (task) => {
    const pool = new pg.Pool({ connectionString: task.databaseUrl, max: 1 });
    const orm = drizzle(pool);
    let rows = 0;
    for await (const page of pagesOf(task)) {
      await orm.transaction(async (tx) => {
        for (const { table, rows: ofTable } of rowsOf(page, task.customerId)) {
          const { target, set } = conflictOf(table);
          // As text: drizzle would write the JSON text as a JSON string.
          const values = ofTable.map((row) => ({ ...row, raw: sql`${row['raw']}` }));
          await tx.insert(table).values(values).onConflictDoUpdate({ target, set });
        }
        const { cursor, updatedAt } = { cursor: page.nextCursor, updatedAt: sql`now()` };
        await tx
          .insert(checkpoints)
          .values({ customerId: task.customerId, stream: 'transactions', epoch: 0n, cursor })
          .onConflictDoUpdate({
            target: [checkpoints.customerId, checkpoints.stream],
            set: { cursor, updatedAt },
          });
      });
      rows += page.records.length;
    }
    await pool.end();
    return rows;
  },
  'http and JSON.parse': async ({ sandbox, bearer }) => {
    let rows = 0;
    for (let cursor: string | null = null; ; ) {
      const url = new URL(`${sandbox.apiUrl}/transactions`);
      url.search = String(new URLSearchParams(pageQuery({ cursor, limit: PAGE, startTime: null })));
      const answer = await fetch(url, { headers: { authorization: `Bearer ${bearer}` } });
      const { data, page } = JSON.parse(await answer.text());
      rows += data.transactions.length;
      cursor = page.next_cursor ?? null;
      if (cursor === null) return rows;
    }
  },
} satisfies Record<string, Rival>;

const CHECKPOINT = `INSERT INTO calico.checkpoints (customer_id, stream, epoch, cursor) VALUES ($1, 'transactions', 0, $2)
  ON CONFLICT (customer_id, stream) DO UPDATE SET cursor = excluded.cursor, updated_at = now()`;

/** All columns but the key and when the row was first seen. */
function conflictOf(table: PgTable) {
  const { primaryKeys } = getTableConfig(table);
  const target = primaryKeys[0]?.columns ?? [];
  const updated = Object.entries(getTableColumns(table)).filter(
    ([property, column]) => property !== 'firstSeenAt' && !target.some(({ name }) => name === column.name),
  );
  const set = Object.fromEntries(
    updated.map(([property, { name }]) => [property, sql.raw(`excluded.${name}`)]),
  );
  return { target, set };
}

type Statement = { name: string; text: string; toValues: (row: Row) => unknown[] };
const statements = new Map<PgTable, Statement>();

/** `INSERT … ON CONFLICT … DO UPDATE` of one row, prepared once a connection. */
function statementFor(table: PgTable): Statement {
  const known = statements.get(table);
  if (known) return known;
  const { schema, name } = getTableConfig(table);
  const columns = Object.entries(getTableColumns(table)).filter(([, column]) => column.default === undefined);
  const { target } = conflictOf(table);
  const names = columns.map(([, column]) => column.name);
  const updated = names.filter((column) => !target.some((key) => key.name === column));
  const statement = {
    name: `upsert_${name}`,
    text: `INSERT INTO ${schema}.${name} (${names.join(', ')})
      VALUES (${names.map((_, index) => `$${index + 1}`).join(', ')})
      ON CONFLICT (${target.map((key) => key.name).join(', ')}) DO UPDATE SET
        ${updated.map((column) => `${column} = excluded.${column}`).join(', ')}, last_changed_at = now()`,
    toValues: (row: Row) => columns.map(([property]) => row[property] ?? null),
  };
  statements.set(table, statement);
  return statement;
}

const [rival, place] = process.argv.slice(2);
process.on('message', async (task: RivalTask) => {
  const { sandbox, databaseUrl } = JSON.parse(place ?? '') as Pick<Task, 'sandbox' | 'databaseUrl'>;
  const began = performance.now();
  const rows = await RIVALS[rival as RivalName]({ ...task, sandbox, databaseUrl });
  if (rows !== task.rows) throw new Error(`${rival} read ${rows} of ${task.rows} rows`);
  process.send?.((performance.now() - began) / 1000);
});
process.once('disconnect', () => process.exit());
