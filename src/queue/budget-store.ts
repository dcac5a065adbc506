/**
 * Where the budget of requests is counted: beside the queue, on Redis or on Postgres. rate-limiter-flexible counts and
 * says how long to wait; what it has not is said here: a window much shorter than a second, by the server's clock (of
 * two processes whose clocks differ, one would always come too late), and one that begins where the last one ended.
 */
import { Redis } from 'ioredis';
import pg from 'pg';
import { type RateLimiterAbstract, RateLimiterPostgres, RateLimiterRedis } from 'rate-limiter-flexible';
import { HeardClient } from './heard-client.ts';

/**
 * One request in each window of `everyUs` microseconds. A window begins when the one before it ended, if that is at most
 * `makeUpUs` ago: who comes a little late loses nothing. Else it begins with the request.
 */
export type BudgetWindow = { everyUs: number; makeUpUs: number };

export type BudgetStore = { limiter: Pick<RateLimiterAbstract, 'consume'>; close(): Promise<void> };

/** A store that has not answered by then is out of order: requests wait for it. A healthy one needs 1 to 5 ms. */
const STORE_TIMEOUT_MS = 1_000;

/** How often a process asks at once. */
export const MOST_AT_ONCE = 16;

const TABLE = 'request_budget';

/** Without the bound on `ends` a clock that was set back would stop everybody until it is there again. */
const countInHash = ({ everyUs, makeUpUs }: BudgetWindow) => `
  local time = redis.call('time')
  local now = time[1] * 1000000 + time[2]
  local ends = tonumber(redis.call('hget', KEYS[1], 'ends') or 0)
  if now >= ends or ends > now + ${everyUs} then
    ends = math.max(math.min(ends, now), now - ${makeUpUs}) + ${everyUs}
    redis.call('hset', KEYS[1], 'ends', string.format('%.0f', ends), 'points', 0)
    redis.call('expire', KEYS[1], 60)
  end
  return { redis.call('hincrby', KEYS[1], 'points', ARGV[1]), math.ceil((ends - now) / 1000) }`;

export function redisBudgetStore(url: string, prefix: string, window: BudgetWindow): BudgetStore {
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
    points: 1,
    duration: 1, // not used: the window is the script's own
    customIncrTtlLuaScript: countInHash(window),
  });
  return { limiter, close: async () => redis.disconnect() };
}

export function postgresBudgetStore(
  url: string,
  schema: string,
  { everyUs, makeUpUs }: BudgetWindow,
): BudgetStore {
  const pool = new pg.Pool({
    connectionString: url,
    Client: HeardClient,
    max: 4, // the others of those that ask at once wait for one of these
    connectionTimeoutMillis: STORE_TIMEOUT_MS,
    query_timeout: STORE_TIMEOUT_MS,
    application_name: 'calico-sync queue',
  });
  pool.on('error', () => undefined); // the pool replaces the connection
  // Else the process's first request waits for it: 35 of the 120 ms from its first lease to its first page.
  pool.connect().then(
    (connection) => connection.release(),
    () => undefined,
  );
  const statement = { name: 'request_budget', text: countInTable(schema) };
  const query = async ({ values: [key, taken] }: { values: [string, number] }) => {
    const { rows } = await pool.query<Counted>({ ...statement, values: [key, taken, everyUs, makeUpUs] });
    return { rows: rows.map((row) => ({ points: row.points, expire: Date.now() + row.left_ms })) };
  };
  const limiter = new RateLimiterPostgres({
    storeClient: { query },
    storeType: 'client',
    tableName: TABLE,
    tableCreated: true,
    clearExpiredByTimeout: false, // there is one key
    points: 1,
    duration: 1, // not used: the window is the statement's own
  });
  return { limiter, close: () => pool.end() };
}

type Counted = { points: number; left_ms: number };

/** As the script for Redis. The clock is read once the row is locked; the first request of all finds no row. */
function countInTable(schema: string): string {
  const clock = '(extract(epoch FROM clock_timestamp()) * 1000000)::bigint';
  return `
    INSERT INTO "${schema}".${TABLE} AS b (key, points, ends) VALUES ($1, $2, ${clock} + $3::bigint)
    ON CONFLICT (key) DO UPDATE SET (points, ends) = (
      SELECT CASE WHEN c.is_over THEN $2 ELSE b.points + $2 END,
        CASE WHEN c.is_over THEN greatest(least(b.ends, c.at), c.at - $4::bigint) + $3::bigint ELSE b.ends END
      FROM (SELECT at, at >= b.ends OR b.ends > at + $3::bigint AS is_over FROM (SELECT ${clock} AS at) now) c)
    RETURNING points, ceil((ends - ${clock}) / 1000.0)::int AS left_ms`;
}

/** Unlogged: what was counted before a crash of the server is of no interest. Any number may do this at once. */
export async function createBudgetTable(client: pg.ClientBase, schema: string): Promise<void> {
  await client.query(`
    SELECT pg_advisory_xact_lock(hashtextextended('${schema}.${TABLE}', 0));
    CREATE UNLOGGED TABLE IF NOT EXISTS "${schema}".${TABLE} (
      key text PRIMARY KEY, points integer NOT NULL, ends bigint NOT NULL)`);
}
