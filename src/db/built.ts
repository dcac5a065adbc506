/**
 * Statements of drizzle's that are built once. To put each together anew, and what reads its answer, took a third of the worker's CPU
 * in a sync that finds nothing.
 */
import { and, type Column, eq, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import type { Orm } from './client.ts';

type Built<Result> = { execute(values: Record<string, unknown>): Promise<Result> };

const NOWHERE = drizzle.mock() as unknown as Orm;

/**
 * `build` makes the statement, with `sql.placeholder` for what differs from one time to the next; it is called once. Postgres parses and
 * plans it once a connection, under `name`.
 * drizzle prepares a statement for the connection at hand (`client` of NodePgPreparedQuery, in its node-postgres/session.js, 0.45): this one
 * is prepared for none, and takes that of whoever runs it. Any number may run at once: pg copies what it is given.
 */
export function built<Result>(
  name: string,
  build: (orm: Orm) => { prepare(name: string): Built<Result> },
): (orm: Orm, values?: Record<string, unknown>) => Promise<Result> {
  let made: Built<Result> | undefined;
  return (orm, values = {}) => {
    made ??= build(NOWHERE).prepare(name);
    const here: Built<Result> = Object.create(made, { client: { value: orm.$client } });
    return here.execute(values);
  };
}

/** For a statement that is built: the rows of one customer's stream, given as `customerId` and `stream`. */
export const isOfStream = (table: { customerId: Column; stream: Column }) =>
  and(eq(table.customerId, sql.placeholder('customerId')), eq(table.stream, sql.placeholder('stream')));
