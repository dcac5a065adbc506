/** What a person wants to see after the demo: the rows, the receipts, and one question answered. */
import { sql } from 'drizzle-orm';
import type { Database } from '../db/client.ts';
import { TRANSACTION_KINDS } from '../db/schema.ts';
import { everyRecord } from '../sandbox/data.ts';
import type { Sandbox } from '../sandbox/server.ts';
import { type Column, say, sayTable } from './output.ts';

/** Prints rows by table against what Calico holds, the receipts, and an analyst's query with its answer. */
export async function showDemoResults(db: Database, sandbox: Sandbox): Promise<void> {
  await showRows(db, sandbox);
  await showReceipts(db);
  await showQuestion(db);
}

type TableRows = { table: string; rows: number };

async function showRows(db: Database, { data }: Sandbox): Promise<void> {
  const tables = [
    ...TRANSACTION_KINDS.map((kind) => `${kind}_transactions`),
    'transaction_fees',
    'asset_positions',
  ];
  const counts = tables.map(
    (table) => sql`SELECT ${table} AS "table", count(*)::int AS rows FROM ${sql.raw(`calico.${table}`)}`,
  );
  const { rows } = await db.run((orm) => orm.execute<TableRows>(sql.join(counts, sql` UNION ALL `)));
  say('\nRows in Postgres:\n');
  sayTable<TableRows>([{ title: 'table', cell: (row) => `calico.${row.table}` }, number('rows')], rows);

  const landed = rows
    .filter(({ table }) => /_transactions$/.test(table))
    .reduce((sum, row) => sum + row.rows, 0);
  const held = data.customerIds().reduce((sum, id) => sum + data.count('transactions', id, everyRecord), 0);
  say(
    `\n${landed} transactions here, ${held} at Calico${landed === held ? ': all of them, each once.' : '. THAT IS WRONG.'}`,
  );
}

type ReceiptSum = Record<(typeof RECEIPT_COLUMNS)[number], number> & { stream: string };
const RECEIPT_COLUMNS = [
  ...([
    'runs',
    'pages',
    'fetched',
    'inserted',
    'updated',
    'unchanged',
    'duplicates',
    'quarantined',
    'balanced',
  ] as const),
];

async function showReceipts(db: Database): Promise<void> {
  const { rows } = await db.run((orm) =>
    orm.execute<ReceiptSum>(sql`SELECT stream, count(*)::int AS runs, sum(pages)::int AS pages,
      sum(fetched)::int AS fetched, sum(inserted)::int AS inserted, sum(updated)::int AS updated,
      sum(unchanged)::int AS unchanged, sum(duplicates)::int AS duplicates, sum(quarantined)::int AS quarantined,
      count(*) FILTER (WHERE balanced AND complete)::int AS balanced
      FROM calico.sync_run_streams GROUP BY stream ORDER BY stream`),
  );
  say(
    '\nReceipts: fetched = inserted + updated + unchanged + duplicates + quarantined, to the end of the pages:\n',
  );
  sayTable<ReceiptSum>(
    [
      { title: 'stream', cell: (row) => row.stream },
      ...RECEIPT_COLUMNS.map((name) => number<ReceiptSum>(name)),
    ],
    rows,
  );
}

const QUESTION = `SELECT input_asset_symbol AS asset, count(*) AS trades, sum(input_amount) AS bought
  FROM calico.transactions
  WHERE kind = 'input_output' AND removed_at IS NULL
  GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5`;

async function showQuestion(db: Database): Promise<void> {
  type Bought = { asset: string; trades: string; bought: string };
  const { rows } = await db.run((orm) => orm.execute<Bought>(sql.raw(QUESTION)));
  say(`\nAn analyst asks which assets were bought most often, and gets every digit:\n\n  ${QUESTION}\n`);
  sayTable<Bought>([{ title: 'asset', cell: (row) => row.asset }, number('trades'), number('bought')], rows);
}

function number<Row extends object>(title: keyof Row & string): Column<Row> {
  return { title, align: 'right', cell: (row) => String(row[title]) };
}
