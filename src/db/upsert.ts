import { getTableColumns } from 'drizzle-orm';
import { getTableConfig, type PgTable } from 'drizzle-orm/pg-core';
import type { Transaction } from './client.ts';

/** Whose rows they are and which run writes them: the same for all of a statement. */
export type RowOwner = { customerId: string; runId: string };

/** What no row says for itself: the owner's, and what Postgres sets anew with each writing. */
type NotOfRow = 'customerId' | 'lastRunId' | 'lastChangedAt' | 'removedAt' | 'validFrom' | 'validTo';
const SET_ANEW: ReadonlySet<string> = new Set(['last_changed_at', 'removed_at', 'valid_from', 'valid_to']);
const OF_OWNER: ReadonlyMap<string, string> = new Map([
  ['customer_id', '$1::text'],
  ['last_run_id', '$2::uuid'],
]);

/** Types whose texts are full of quotes or begin with a backslash, and hold no line break. */
const AS_LINES: ReadonlySet<string> = new Set(['jsonb', 'bytea']);

/** A row as the drizzle table has it, without what is not its own. */
export type RowOf<Table extends PgTable> = Omit<Table['$inferInsert'], NotOfRow>;

/** A table's statements, and how rows become their values, those behind the owner's two. */
type Statements = {
  insert: string;
  upsert: { name: string; text: string };
  /** Parameters, without the owner's two. */
  columns: number;
  toValues: (rows: readonly object[]) => string[];
};

/**
 * One set-based upsert of any number of rows into `table`, built from its drizzle definition; and, without its last line and its order, an
 * insert:
 *
 *     INSERT INTO calico.t (customer_id, key, a, b, raw, first_seen_at, last_run_id)
 *     SELECT $1::text, u.key, u.a, u.b, u.raw, coalesce(u.first_seen_at, now()), $2::uuid
 *     FROM (SELECT unnest($3::text[]) AS key, unnest($4::numeric[]) AS a, …,
 *       unnest(string_to_array($6, E'\n', '')::jsonb[]) AS raw, …) AS u ORDER BY u.key
 *     ON CONFLICT (customer_id, key) DO UPDATE SET a = excluded.a, …
 *
 * One array a column: 65,535 parameters are never near, and it is three times as fast as multi-row VALUES. Unnested where they
 * are selected, side by side ("Set Returning Functions", 9.26; 36.5.9): in FROM each would be written to a store of its own first,
 * which costs a sixth of the whole. A shorter array ends in NULLs. Sorted by the key, so that concurrent batches lock in one
 * order. NULL for a column with a default takes the default. `first_seen_at` is never updated.
 * The caller passes each key once (SQLSTATE 21000 else) and leaves unchanged rows out: even a refused update writes WAL.
 */
function statementsOf(table: PgTable): Statements {
  const { schema, name, columns, primaryKeys } = getTableConfig(table);
  const key = primaryKeys[0]?.columns.map((column) => column.name) ?? [];
  const written = Object.entries(getTableColumns(table)).filter(([, column]) => !SET_ANEW.has(column.name));
  const own = written.filter(([, column]) => !OF_OWNER.has(column.name));
  const unnested = own.map(([, column], index) => {
    const parameter = `$${OF_OWNER.size + index + 1}`;
    const type = column.getSQLType();
    const array = AS_LINES.has(type) ? arrayOf(parameter) : parameter;
    return `unnest(${array}::${type}[]) AS ${column.name}`;
  });
  const selected = written.map(([, column]) => {
    const value = OF_OWNER.get(column.name) ?? `u.${column.name}`;
    return column.default === undefined ? value : `coalesce(${value}, ${defaultOf(column.default)})`;
  });
  const order = key.filter((column) => own.some(([, { name: ofRow }]) => ofRow === column));
  const updated = columns
    .map((column) => column.name)
    .filter((column) => !key.includes(column) && column !== 'first_seen_at');
  const insert = `INSERT INTO ${schema}.${name} (${written.map(([, column]) => column.name).join(', ')})
SELECT ${selected.join(', ')}
FROM (SELECT ${unnested.join(', ')}) AS u`;
  const upsert = `${insert}
ORDER BY ${order.map((column) => `u.${column}`).join(', ')}
ON CONFLICT (${key.join(', ')}) DO UPDATE SET ${updated.map((column) => `${column} = excluded.${column}`).join(', ')}`;
  return {
    columns: own.length,
    insert,
    upsert: { name: `upsert_${name}`, text: upsert },
    toValues: (rows) =>
      own.map(([property, column]) => {
        const values = rows.map((row) => (row as Record<string, Value>)[property]);
        const type = column.getSQLType();
        return AS_LINES.has(type) ? lines(values) : arrayLiteral(values, type === 'text');
      }),
  };
}

type Value = string | number | null | undefined;

/**
 * An array as Postgres reads it ("Arrays", 8.15.2). pg would write the same, element by element; here a whole column is looked
 * at and joined at once, which nearly always will do. All NULL is none, for beside a longer array it is filled up with them. `isText` false:
 * its type has no quotes, backslashes, commas or braces.
 */
export function arrayLiteral(values: readonly Value[], isText = true): string {
  const nulls = values.reduce<number>((sum, value) => (value == null ? sum + 1 : sum), 0);
  if (nulls === values.length) return '{}';
  if (isText ? nulls > 0 || MUST_ESCAPE.test(values.join('')) : nulls > 0) {
    const elements = values.map((value) => {
      if (value == null) return 'NULL';
      return isText ? `"${String(value).replace(/["\\]/g, '\\$&')}"` : value;
    });
    return `{${elements.join(',')}}`;
  }
  return isText ? `{"${values.join('","')}"}` : `{${values.join(',')}}`;
}

const MUST_ESCAPE = /["\\]/;

/** Values without line breaks, a line each; none is ''. In an array literal each quote or backslash of theirs would be escaped. */
export function lines(values: readonly Value[]): string {
  return values.join('\n');
}

/** The lines of a parameter as Postgres reads them: `text[]`, NULL for none. */
export const arrayOf = (parameter: string) => `string_to_array(${parameter}, E'\\n', '')`;

/** Defaults in this schema are literals and `now()`. */
function defaultOf(value: unknown): string {
  return typeof value === 'string' ? `'${value.replaceAll("'", "''")}'` : 'now()';
}

/** Statements by table: built once, named once, so that each connection parses and plans them once. */
const statements = new WeakMap<PgTable, Statements>();

/** Rows of one table as their statement takes them; null for none. Made before it is known whose they are. */
export type Batch = { of: Statements; values: string[] } | null;

/** What `upsert` and `insert` write; each key at most once in `rows`. */
export function batchOf<Table extends PgTable>(table: Table, rows: readonly RowOf<Table>[]): Batch {
  if (rows.length === 0) return null;
  const of = statements.get(table) ?? statementsOf(table);
  statements.set(table, of);
  return { of, values: of.toValues(rows) };
}

/** Upserts a batch. Does nothing for none. */
export async function upsert(tx: Transaction, { customerId, runId }: RowOwner, batch: Batch): Promise<void> {
  if (!batch) return;
  const { name, text } = batch.of.upsert;
  await tx.query(name, text, [customerId, runId, ...batch.values]);
}

/**
 * Inserts batches of rows of which none is there, of a table each, in one statement: seven take a tenth more of the worker's CPU
 * for the whole page. Does nothing for none. Unsorted: nobody else writes this customer's rows, so that there is nothing to wait for.
 */
export async function insert(
  tx: Transaction,
  { customerId, runId }: RowOwner,
  batches: readonly Batch[],
): Promise<void> {
  const some = batches.filter((batch) => batch !== null);
  if (some.length === 0) return;
  const { name, text } = insertOf(some.map(({ of }) => of));
  await tx.query(name, text, [customerId, runId, ...some.flatMap(({ values }) => values)]);
}

/** By the tables, in their order: a page has nearly always the same. */
const inserts = new Map<string, { name: string; text: string }>();

/** The tables' inserts as one statement, each with its parameters behind those of the one before it. */
function insertOf(tables: readonly Statements[]): { name: string; text: string } {
  const key = tables.map(({ upsert }) => upsert.name).join(' ');
  const known = inserts.get(key);
  if (known) return known;
  let first = 0;
  const [last, ...others] = tables
    .map(({ insert, columns }) => {
      const moved = insert.replaceAll(/\$(\d+)/g, (parameter, number: string) =>
        Number(number) > OF_OWNER.size ? `$${Number(number) + first}` : parameter,
      );
      first += columns;
      return moved;
    })
    .toReversed();
  const before = others.map((insert, index) => `i${index} AS (${insert})`);
  const text = before.length === 0 ? `${last}` : `WITH ${before.join(',\n')}\n${last}`;
  const made = { name: `insert_page_${inserts.size}`, text };
  inserts.set(key, made);
  return made;
}
