/** What goes wrong in Postgres leaves db/ as one kind of error, and no value that was bound leaves with it. */
import { inspect } from 'node:util';
import { eq, sql } from 'drizzle-orm';
import { expect, onTestFinished, test } from 'vitest';
import { type Database, openDatabase, type Transaction } from '../../src/db/client.ts';
import { DatabaseError } from '../../src/db/errors.ts';
import { customers } from '../../src/db/schema-sync.ts';
import { openEarlyEndingLink } from '../support/early-end.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld } from '../support/world.ts';

const SECRET = 'very-secret-value';

/** Statements that fail, each with a bound value, and what kind of failure it is. */
const FAILURES: Record<string, { kind: string; sqlState: string; run(tx: Transaction): Promise<unknown> }> = {
  'a value of the wrong form': {
    kind: 'data',
    sqlState: '22P02',
    run: ({ query }) => query('bad_number', 'SELECT $1::numeric', [SECRET]),
  },
  'a constraint': {
    kind: 'data',
    sqlState: '23514',
    run: ({ orm }) => orm.insert(customers).values({ customerId: SECRET, status: SECRET as 'active' }),
  },
  'a key that is there': {
    kind: 'data',
    sqlState: '23505',
    run: async ({ orm }) => {
      await orm.insert(customers).values({ customerId: SECRET });
      await orm.insert(customers).values({ customerId: SECRET });
    },
  },
  'a column that is not there': {
    kind: 'schema',
    sqlState: '42703',
    run: ({ orm }) => orm.execute(sql`SELECT missing FROM calico.customers WHERE customer_id = ${SECRET}`),
  },
  'a table that is not there': {
    kind: 'schema',
    sqlState: '42P01',
    run: ({ query }) => query('no_table', 'SELECT FROM calico.missing WHERE $1 = $1', [SECRET]),
  },
  'a key too long for its index': {
    kind: 'data',
    sqlState: '54000',
    run: ({ orm }) =>
      orm.insert(customers).values({
        customerId:
          SECRET + Array.from({ length: 4_000 }, (_none, i) => (i * 7_919 * i).toString(36)).join(''),
      }),
  },
};

test.each(Object.entries(FAILURES))('%s', async (_what, { kind, sqlState, run }) => {
  const { db } = await createWorld();

  const error = await db.transaction(run).catch((reason: unknown) => reason);

  expect(error).toBeInstanceOf(DatabaseError);
  expect(error).toMatchObject({ kind, sqlState });
  expect(everythingIn(error)).not.toContain(SECRET);
  expect(everythingIn(error)).toContain(sqlState);
});

test('a broken constraint hints at its row, long values included, and shows it to nobody', async () => {
  const { db } = await createWorld();
  for (const id of [SECRET, 'é'.repeat(60), `${'x'.repeat(63)}€${'x'.repeat(9)}`]) {
    const insert = db.run((orm) =>
      orm.insert(customers).values({ customerId: id, status: 'nonsense' as 'active' }),
    );
    const error = await insert.catch((reason: unknown) => reason);
    if (!(error instanceof DatabaseError)) throw error;
    expect(error.mayMean([id, 'nonsense'])).toBe(true);
    expect(error.mayMean([id, 'active'])).toBe(false);
    expect(error.mayMean([`-${id}`])).toBe(false);
    expect(inspect(error, { showHidden: true }) + JSON.stringify(error)).not.toContain(id.slice(0, 20));
  }
});

test('outside a transaction, too', async () => {
  const { db } = await createWorld();
  const failing = db.run((orm) =>
    orm
      .select()
      .from(customers)
      .where(eq(sql`${customers.customerId}::int`, SECRET)),
  );
  const error = await failing.catch((reason: unknown) => reason);
  expect(error).toMatchObject({ name: 'DatabaseError', kind: 'data' });
  expect(everythingIn(error)).not.toContain(SECRET);
});

test('what other code throws passes through, and the transaction is undone', async () => {
  const { db, rows } = await createWorld();
  const ours = new Error('ours');

  const failing = db.transaction(async ({ orm }) => {
    await orm.insert(customers).values({ customerId: 'alice' });
    throw ours;
  });

  await expect(failing).rejects.toBe(ours);
  expect(await rows('SELECT FROM calico.customers')).toEqual([]);
});

test('a statement that went out behind one that failed says why, not only that it came too late', async () => {
  const { db } = await createWorld();
  const behind = db.transaction(async ({ query }) => {
    query('bad_number', 'SELECT $1::numeric', [SECRET]).catch(() => {});
    await query('fine', 'SELECT 1', []);
  });
  await expect(behind).rejects.toMatchObject({ kind: 'data', sqlState: '22P02' });
});

test('a savepoint that fails undoes itself only, nested ones too', async () => {
  const { db, rows } = await createWorld();
  const add = (tx: Transaction, customerId: string) => tx.orm.insert(customers).values({ customerId });

  await db.transaction(async (tx) => {
    await add(tx, 'outside');
    await tx.savepoint(async () => {
      await add(tx, 'kept');
      await expect(
        tx.savepoint(async () => {
          await add(tx, 'undone');
          await add(tx, 'kept');
        }),
      ).rejects.toMatchObject({ kind: 'data' });
    });
    await add(tx, 'after');
  });

  expect(await rows('SELECT customer_id FROM calico.customers ORDER BY 1')).toEqual([
    { customer_id: 'after' },
    { customer_id: 'kept' },
    { customer_id: 'outside' },
  ]);
});

test('a connection that dies in a transaction is an unavailable Postgres, and the pool lives on', async () => {
  const world = await createWorld();
  const db = openDatabase({ url: world.database.url, maxConnections: 1 });

  await expect(killedInside(db)).rejects.toMatchObject({ kind: 'unavailable' });

  expect(await db.run((orm) => orm.execute(sql`SELECT 1 AS one`))).toMatchObject({ rows: [{ one: 1 }] });
  await db.close();
});

test('a connection that is ended as soon as it is there is an unavailable Postgres, and ends nobody', async () => {
  const world = await createWorld();
  const link = await openEarlyEndingLink(world.database.url);
  const db = openDatabase({ url: link.url, maxConnections: 1 });
  onTestFinished(async () => {
    await db.close();
    await link.close();
  });
  const work = () => db.transaction(({ query }) => query('fine', 'SELECT 1', []));

  // Whoever asked for the connection has not heard of it yet.
  link.endEarly(true);
  await expect(work()).rejects.toMatchObject({ kind: 'unavailable' });
  await expect(work()).rejects.toMatchObject({ kind: 'unavailable' });
  link.endEarly(false);
  await expect(work(), 'the pool lives on').resolves.toHaveLength(1);
});

test('a connection that dies while idle is heard of, and ends nobody', async () => {
  const world = await createWorld();
  const heard: unknown[] = [];
  const db = openDatabase({
    url: world.database.url,
    maxConnections: 1,
    onIdleError: (error) => void heard.push(error),
  });
  const { rows } = await db.run((orm) => orm.execute<{ pid: number }>(sql`SELECT pg_backend_pid() AS pid`));

  await world.rows('SELECT pg_terminate_backend($1)', [rows[0]?.pid]);

  await waitFor(() => heard.length > 0, { describe: 'the pool to hear of it' });
  expect(heard[0]).toMatchObject({ name: 'DatabaseError', kind: 'unavailable' });
  expect(await db.run((orm) => orm.execute(sql`SELECT 1 AS one`))).toMatchObject({ rows: [{ one: 1 }] });
  await db.close();
});

async function killedInside(db: Database): Promise<void> {
  await db.transaction(async ({ orm }) => {
    await orm.execute(sql`SELECT pg_terminate_backend(pg_backend_pid())`);
  });
}

/** Message, stack, fields and causes. */
function everythingIn(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return [error.stack, JSON.stringify(error), error.cause ? everythingIn(error.cause) : ''].join('\n');
}

test.each([
  ['57P01', true], // the server is shutting down
  ['08006', true], // the connection failed
  [null, true], // nobody answered
  ['53100', false], // the disk is full: that is an answer
  ['58030', false],
])('SQLSTATE %s: is nothing heard, rather than refused? %s', (sqlState, isSilence) => {
  expect(new DatabaseError('unavailable', sqlState, 'a test').isSilence).toBe(isSilence);
  expect(new DatabaseError('other', sqlState, 'a test').isSilence).toBe(false);
});
