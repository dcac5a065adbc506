import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import { toDatabaseError } from './errors.ts';
import { announced, type Explained, ending, type OnStatement, oneByOne, prepared } from './statements.ts';

/** drizzle over a pool or over one connection's transaction. */
export type Orm = NodePgDatabase<Record<string, never>> & { $client: pg.Pool | pg.ClientBase };

/**
 * One open transaction: `orm` for ordinary statements, `query` for the prepared ones. Statements that are not awaited one by
 * one go out together and are answered together: one round trip. Postgres takes them in the order of the calls, and after
 * one that fails none of those behind it does anything. Whoever waits for several must have nothing to do in between
 * (`Promise.all` of single statements): once one has failed the transaction is rolled back, and takes no more.
 */
export type Transaction = {
  orm: Orm;
  /**
   * Runs `text` as a prepared statement under `name`: parsed and planned once a connection. Sent before this returns.
   * `meaning`: where it fails with that error, the transaction does with this one.
   */
  query<Row extends pg.QueryResultRow>(
    name: string,
    text: string,
    values: unknown[],
    meaning?: Explained['meaning'],
  ): Promise<Row[]>;
  /**
   * Sends the commit right behind statements that are on their way, once the work is done: a round trip less. They are waited for
   * with it. Only for those whose answers decide nothing: one that must not be committed fails by itself, and in Postgres (what fails on
   * its way there, by a value that pg cannot write, stops no commit).
   */
  commitWith(sent: Promise<unknown>): void;
  /** Runs `work` so that its failure undoes its own statements only; the transaction goes on. */
  savepoint<T>(work: () => Promise<T>): Promise<T>;
};

/**
 * The only way to Postgres. Everything that goes wrong inside `run` or `transaction` leaves it as a `DatabaseError`
 * without parameters; what other code throws passes through, after the transaction was rolled back.
 */
export type Database = {
  run<T>(work: (orm: Orm) => Promise<T>): Promise<T>;
  transaction<T>(work: (tx: Transaction) => Promise<T>, options?: TransactionOptions): Promise<T>;
  close(): Promise<void>;
};

/**
 * `waitsForDisk` false (PostgreSQL, "Asynchronous Commit"): a crash of the server may take the transaction back, whole and
 * with all that came after it, until some later transaction has waited. For what is done again from what then stands.
 */
export type TransactionOptions = { waitsForDisk?: boolean };

export type DatabaseOptions = {
  url: string;
  /** Connections at most. A sync needs two while its pages follow each other, a token refresh one more. */
  maxConnections: number;
  /**
   * A session that does nothing in its transaction for this long is ended by Postgres, and its locks with it: as long as
   * a lease, a minute by default. When a worker was stopped in there, its lease is over by then, and a renewal of it that
   * waits for the row comes too late; after less, that one would be granted and the heir wait for another lease.
   */
  idleInTransactionMs?: number;
  /** Called when an idle connection breaks: the pool replaces it, and an unheard error would end the process. */
  onIdleError?: (error: unknown) => void;
  /** Awaited before and after each statement: `BEGIN:before`, `upsert_send_transactions:after`. For tests that end there. */
  onStatement?: OnStatement;
};

/** Opens a pool; connects at the first use. */
export function openDatabase(options: DatabaseOptions): Database {
  const { url, maxConnections, idleInTransactionMs = 60_000, onIdleError, onStatement } = options;
  const pool = new pg.Pool({
    connectionString: url,
    max: maxConnections,
    connectionTimeoutMillis: 10_000,
    application_name: 'calico-sync',
    // No statement of ours takes seconds.
    statement_timeout: 60_000,
    // A server that is frozen times nothing out: then the client does, a little later.
    query_timeout: 65_000,
    idle_in_transaction_session_timeout: idleInTransactionMs,
    pipeline: true,
  });
  // pg's pool says that it has ended before its sockets have: what breaks then is of no interest.
  pool.on('error', (error) => pool.ending || onIdleError?.(toDatabaseError(error)));
  // A connection that ends between the pool's hands and ours (both in one packet of Postgres') has nobody who listens, which would
  // end the process. Whoever gets it hears of it at its first statement.
  pool.on('connect', (connection) => connection.on('error', () => {}));
  const orm = drizzle(announced(prepared(pool), onStatement));

  return {
    run: (work) => translated(() => work(orm)),
    transaction: (work, taken = {}) => translated(() => inTransaction(pool, onStatement, work, taken)),
    close: () => pool.end(),
  };
}

async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toDatabaseError(error);
  }
}

/** Whatever the server's default: a statement that waited for a row sees what is there when it has it. */
const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED';

async function inTransaction<T>(
  pool: pg.Pool,
  onStatement: OnStatement | undefined,
  work: (tx: Transaction) => Promise<T>,
  { waitsForDisk = true }: TransactionOptions,
): Promise<T> {
  const connection = await pool.connect();
  const plain = prepared(connection);
  const { client, end } = ending(onStatement ? oneByOne(announced(plain, onStatement)) : plain);
  let broken: Error | undefined;
  const onError = (error: Error) => {
    broken = error;
  };
  connection.on('error', onError);
  let savepoints = 0;
  const sent: Promise<unknown>[] = [];
  try {
    // Not awaited: it shares the first statement's round trip. Where it fails the connection is gone, and so does that one.
    const begun = client.query(waitsForDisk ? BEGIN : `${BEGIN}; SET LOCAL synchronous_commit = off`);
    begun.catch(() => {});
    const result = await work({
      orm: drizzle(client),
      query: async (name, text, values, meaning) => {
        const statement: Explained = { name, text, values, meaning };
        return (await client.query(statement)).rows;
      },
      commitWith: (statements) => {
        statements.catch(() => {});
        sent.push(statements);
      },
      savepoint: (attempt) => translated(() => withSavepoint(client, `attempt_${++savepoints}`, attempt)),
    });
    const [{ command }] = await Promise.all([end('COMMIT'), begun, ...sent]);
    if (command !== 'COMMIT') throw new Error('a statement had failed: the transaction was rolled back');
    return result;
  } catch (error) {
    await end('ROLLBACK').catch(onError);
    throw error;
  } finally {
    connection.off('error', onError);
    connection.release(broken);
  }
}

/**
 * What succeeded keeps its savepoint until the transaction ends: releasing it would be one more round trip of the few
 * that an attempt has. Each has a name of its own, so that they nest.
 */
async function withSavepoint<T>(client: pg.PoolClient, name: string, work: () => Promise<T>): Promise<T> {
  await client.query(`SAVEPOINT ${name}`);
  try {
    return await work();
  } catch (error) {
    await client.query(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`);
    throw error;
  }
}
