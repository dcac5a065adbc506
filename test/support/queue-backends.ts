import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, inject } from 'vitest';
import { createTestDatabase, nameTestDatabase, type TestDatabase } from './database.ts';

/** Where a suite's queue lives. Nobody else's queue begins with the same prefix. */
export interface TestQueueBackend {
  kind: 'redis' | 'postgres';
  /** What QUEUE_URL would be. */
  url: string;
  /** Key prefix in Redis, schema in Postgres. */
  prefix: string;
  /** Loses everything in the queue, as a FLUSHALL would, and touches nobody else's on a shared server. */
  burn(): Promise<void>;
}

/**
 * Runs a suite on Redis and on Postgres: what holds for one queue must hold for the other. The backend may be read at
 * once; it may be used in hooks and tests. What the suite leaves in it is removed after the suite's own hooks.
 */
export function describeOnBothQueues(name: string, suite: (backend: TestQueueBackend) => void): void {
  const redisUrl = inject('redisUrl');
  if (redisUrl === null) {
    const why =
      'redis: skipped, no Redis answers on 127.0.0.1:6379 and no redis-server in PATH; install redis-server or set TEST_REDIS_URL';
    describe.skip(`${name} (${why})`, () => suite(redisBackend('redis://127.0.0.1:6379')));
  } else {
    describeOnRedis(name, redisUrl, suite);
  }

  describeOnPostgres(name, suite);
}

/** Runs a suite on Redis, or on Postgres where there is none: for what is too long to run twice. */
export function describeOnOneQueue(name: string, suite: (backend: TestQueueBackend) => void): void {
  const redisUrl = inject('redisUrl');
  if (redisUrl === null) describeOnPostgres(name, suite);
  else describeOnRedis(name, redisUrl, suite);
}

function describeOnRedis(name: string, url: string, suite: (backend: TestQueueBackend) => void): void {
  describe(`${name} (redis)`, () => {
    const backend = redisBackend(url);
    afterAll(backend.burn);
    suite(backend);
  });
}

/** For what only Postgres does. */
export function describeOnPostgres(name: string, suite: (backend: TestQueueBackend) => void): void {
  describe(`${name} (postgres)`, () => {
    const named = nameTestDatabase();
    const prefix = uniquePrefix();
    let database: TestDatabase;
    beforeAll(async () => {
      database = await createTestDatabase(named);
    });
    afterAll(() => database?.close());
    suite({ kind: 'postgres', url: named.url, prefix, burn: () => emptySchema(database, prefix) });
  });
}

function redisBackend(url: string): TestQueueBackend {
  const prefix = uniquePrefix();
  return { kind: 'redis', url, prefix, burn: () => unlinkAll(url, `${prefix}*`) };
}

/** Fits both: a Redis key without glob characters, a Postgres identifier that needs no quotes. */
function uniquePrefix(): string {
  return `queue_${randomBytes(4).toString('hex')}`;
}

/** At one instant, as FLUSHALL: a deduplication key that outlived its job would keep its customer out of the queue. */
const UNLINK_ALL = `local keys = redis.call('KEYS', ARGV[1])
for _, key in ipairs(keys) do redis.call('UNLINK', key) end`;

async function unlinkAll(url: string, pattern: string): Promise<void> {
  const redis = new Redis(url);
  try {
    await redis.eval(UNLINK_ALL, 0, pattern);
  } finally {
    redis.disconnect();
  }
}

/** The tables stay, and the row that says which BullMQ made them: Redis needs neither, a worker that runs on does. */
async function emptySchema(database: TestDatabase, schema: string): Promise<void> {
  const { rows } = await database.pool.query<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = $1 AND tablename <> 'migration'`,
    [schema],
  );
  if (rows.length > 0)
    await database.pool.query(`TRUNCATE ${rows.map(({ name }) => name).join(', ')} CASCADE`);
}
