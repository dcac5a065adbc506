/** What becomes of a statement on its way to Postgres: it is prepared, announced to tests, and kept inside its transaction. */
import pg from 'pg';

/** `connection`: what the statement goes through, so that a test can break it there; `query` there is not announced. */
export type OnStatement = (moment: string, connection: Connection) => void | Promise<void>;
export type Connection = { query(statement: string): Promise<unknown> };

/** Of texts that are prepared: more come from nobody but lists of many lengths, and each takes memory of every connection. */
const MOST_PREPARED = 300;
const LONGEST_PREPARED = 3_000;
const preparedNames = new Map<string, string>();

/**
 * The same connection or pool; a statement with values and without a name, as all of drizzle's are, gets one by its text, so
 * that each connection parses and plans it once. That halves what it costs Postgres: such a statement is a row or two.
 */
export function prepared<Pooled extends pg.Pool | pg.PoolClient>(connection: Pooled): Pooled {
  const query = (statement: string | pg.QueryConfig, values?: unknown[]) =>
    connection.query(withName(statement, values), values);
  return Object.create(connection, { query: { value: query } });
}

function withName(
  statement: string | pg.QueryConfig,
  values: unknown[] | undefined,
): string | pg.QueryConfig {
  if (typeof statement === 'string' || statement.name !== undefined || !values) return statement;
  const { text } = statement;
  let name = preparedNames.get(text);
  if (name === undefined) {
    if (text.length > LONGEST_PREPARED || preparedNames.size >= MOST_PREPARED) return statement;
    name = `orm_${preparedNames.size}`;
    preparedNames.set(text, name);
  }
  return { ...statement, name };
}

/** `meaning`: what it means that it failed with this error, if that is more than the error says. */
export type Explained = pg.QueryConfig & { meaning?: ((error: unknown) => Error | null) | undefined };

/** SQLSTATE in_failed_sql_transaction: a statement was not even looked at, for one before it has failed. */
const NOT_LOOKED_AT = '25P02';

/**
 * The same connection until its transaction ends: what came later would be a transaction of its own. Of statements that went
 * out together each that was not looked at fails as the one did that is why: whoever hears of any hears the reason.
 */
export function ending(connection: pg.PoolClient) {
  let isOver = false;
  let failure: unknown;
  let reason: unknown;
  const query = async (statement: string | Explained, values?: unknown[]) => {
    if (isOver) throw new Error('the transaction is over');
    try {
      return await connection.query(statement, values);
    } catch (error) {
      const isOfAnother =
        error === failure || (error instanceof pg.DatabaseError && error.code === NOT_LOOKED_AT);
      if (!isOfAnother) {
        failure = error;
        reason = (typeof statement === 'object' && statement.meaning?.(error)) || error;
      }
      throw reason ?? error;
    }
  };
  return {
    client: Object.create(connection, { query: { value: query } }) as pg.PoolClient,
    end: (how: 'COMMIT' | 'ROLLBACK') => {
      isOver = true;
      return connection.query(how);
    },
  };
}

/** The same connection where each statement waits for the one before it, and after one that failed only a rollback is sent. */
export function oneByOne(connection: pg.PoolClient): pg.PoolClient {
  let last: Promise<unknown> = Promise.resolve();
  let failure: { error: unknown } | null = null;
  const query = (statement: string | pg.QueryConfig, values?: unknown[]) => {
    const send = () => {
      if (nameOf(statement) === 'ROLLBACK') failure = null;
      if (failure) throw failure.error;
      return connection.query(statement, values);
    };
    const result = last.then(send);
    last = result.catch((error: unknown) => {
      failure = { error };
    });
    return result;
  };
  return Object.create(connection, { query: { value: query } });
}

/** The same connection where nobody listens; else one whose `query`, the only thing it is used for, says what it does. */
export function announced<Pooled extends pg.Pool | pg.PoolClient>(
  connection: Pooled,
  onStatement: OnStatement | undefined,
): Pooled {
  if (!onStatement) return connection;
  const query = async (statement: string | pg.QueryConfig, values?: unknown[]) => {
    const name = nameOf(statement);
    await onStatement(`${name}:before`, connection);
    const result = await connection.query(statement, values);
    await onStatement(`${name}:after`, connection);
    return result;
  };
  return Object.create(connection, { query: { value: query } });
}

/** A prepared statement's own name; else its verb and the first table of ours that it speaks of. */
function nameOf(statement: string | pg.QueryConfig): string {
  const { name, text } = typeof statement === 'string' ? { text: statement } : statement;
  const [, verb = '', table] = /^\s*(\w+)(?:.*?"?calico"?\."?(\w+))?/s.exec(text) ?? [];
  return name ?? (table ? `${verb} ${table}` : verb);
}
