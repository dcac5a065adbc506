/**
 * Where the budget of requests is counted: beside the queue, on Redis or on Postgres, in windows of some milliseconds.
 * rate-limiter-flexible counts; what it has not is said here: windows shorter than a second on Redis, and on Postgres
 * the server's clock instead of each process's own (of two that differ, one would always come too late).
 */
import { Redis } from 'ioredis';
import pg from 'pg';
import { RateLimiterPostgres, RateLimiterRedis, type RateLimiterStoreAbstract } from 'rate-limiter-flexible';

/** So many requests in so many milliseconds. */
export type BudgetWindow = { points: number; ms: number };

export type BudgetStore = { limiter: RateLimiterStoreAbstract; close(): Promise<void> };

/** A store that has not answered by then is out of order: requests wait for it. A healthy one needs 1 to 5 ms. */
const STORE_TIMEOUT_MS = 1_000;

const TABLE = 'request_budget';

/** The library's script with milliseconds for seconds; it hands over whole seconds only. */
const countIn = (ms: number) => `
  redis.call('set', KEYS[1], 0, 'PX', ${ms}, 'NX')
  return { redis.call('incrby', KEYS[1], ARGV[1]), redis.call('pttl', KEYS[1]) }`;

export function redisBudgetStore(url: string, prefix: string, { points, ms }: BudgetWindow): BudgetStore {
  const redis = new Redis(url, {
    connectTimeout: STORE_TIMEOUT_MS,
    commandTimeout: STORE_TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(attempt * 200, 2_000),
  });
  redis.on('error', () => undefined); // the request under way fails with the same
  const limiter = new RateLimiterRedis({
    storeClient: redis,
    keyPrefix: prefix,
    points,
    duration: 1, // of the script's own; below 1 the library would never let the key end
    customIncrTtlLuaScript: countIn(ms),
  });
  return { limiter, close: async () => redis.disconnect() };
}

export function postgresBudgetStore(url: string, schema: string, { points, ms }: BudgetWindow): BudgetStore {
  const pool = new pg.Pool({
    connectionString: url,
    max: 1, // a process asks for one request at a time
    connectionTimeoutMillis: STORE_TIMEOUT_MS,
    query_timeout: STORE_TIMEOUT_MS,
    application_name: 'calico-sync queue',
  });
  pool.on('error', () => undefined); // the pool replaces the connection
  const statement = { name: 'request_budget', text: countInTable(schema) };
  const query = async ({ values: [key, taken] }: { values: [string, number] }) => {
    const { rows } = await pool.query<Counted>({ ...statement, values: [key, taken, ms] });
    return { rows: rows.map((row) => ({ points: row.points, expire: Date.now() + row.left_ms })) };
  };
  const limiter = new RateLimiterPostgres({
    storeClient: { query },
    storeType: 'client',
    tableName: TABLE,
    tableCreated: true,
    clearExpiredByTimeout: false, // there is one key
    points,
    duration: ms / 1000,
  });
  return { limiter, close: () => pool.end() };
}

type Counted = { points: number; left_ms: number };

/** The clock is read once the row is locked, and once only: two readings could take a window for over and not over. */
function countInTable(schema: string): string {
  const clock = '(extract(epoch FROM clock_timestamp()) * 1000)::bigint';
  return `
    INSERT INTO "${schema}".${TABLE} AS b (key, points, expire) VALUES ($1, $2, ${clock} + $3::int)
    ON CONFLICT (key) DO UPDATE SET (points, expire) = (
      SELECT CASE WHEN b.expire <= c.at THEN $2 ELSE b.points + $2 END,
        CASE WHEN b.expire <= c.at THEN c.at + $3::int ELSE b.expire END
      FROM (SELECT ${clock} AS at) c)
    RETURNING points, (expire - ${clock})::int AS left_ms`;
}

/** Unlogged: what was counted before a crash of the server is of no interest. Any number may do this at once. */
export async function createBudgetTable(client: pg.ClientBase, schema: string): Promise<void> {
  await client.query(`
    SELECT pg_advisory_xact_lock(hashtextextended('${schema}.${TABLE}', 0));
    CREATE UNLOGGED TABLE IF NOT EXISTS "${schema}".${TABLE} (
      key text PRIMARY KEY, points integer NOT NULL, expire bigint NOT NULL)`);
}
