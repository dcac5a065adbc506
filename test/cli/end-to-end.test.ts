/** An operator's first day: migrate, add customers, start a worker, sync, look, stop. */
import { Redis } from 'ioredis';
import pg from 'pg';
import { expect, it } from 'vitest';
import { describeOnBothQueues, type TestQueueBackend } from '../support/queue-backends.ts';
import { position, transaction } from '../support/records.ts';
import { createInstallation, stop } from './installation.ts';

const KINDS = ['input_only', 'input_output', 'output_only', 'receive', 'send', 'uncategorized'] as const;
const CUSTOMERS = ['alice', 'bob'];

describeOnBothQueues('the command, end to end', (backend) => {
  it('syncs all that Calico has, shows it, ends within 10 s of SIGTERM, and no token is anywhere', async () => {
    const at = await createInstallation({ queue: backend });
    for (const customerId of CUSTOMERS) {
      at.data.add('transactions', customerId, ...KINDS.map((kind) => transaction(kind, `t-${kind}`)));
      at.data.add('assets', customerId, position('BTC', '1.5'), position('ETH', '0.000000000000000001'));
    }
    expect(await at.run('migrate')).toMatchObject({ code: 0, stderr: '' });
    const tokens = await Promise.all(CUSTOMERS.map(at.add));
    const [worker, synced] = await Promise.all([
      at.startWorker({ LOG_LEVEL: 'trace' }),
      at.run('sync --all --wait'),
    ]);
    expect(synced).toMatchObject({
      code: 0,
      stdout: 'Asked for a sync of 2 customers.\n2 succeeded, 0 partial, 0 failed.\n',
      stderr: expect.stringMatching(/ {2}2\/2 customers, \d+ pages, \d+ records\n$/),
    });
    for (const customerId of CUSTOMERS) {
      const kinds = await at.rows(
        'SELECT transaction_id AS id, kind FROM calico.transactions WHERE customer_id = $1 ORDER BY kind',
        [customerId],
      );
      expect(kinds).toEqual(KINDS.map((kind) => ({ id: `t-${kind}`, kind })));
      const positions = await at.rows(
        'SELECT asset_symbol AS symbol, quantity::text FROM calico.asset_positions WHERE customer_id = $1 ORDER BY 1',
        [customerId],
      );
      expect(positions).toEqual([
        { symbol: 'BTC', quantity: '1.5' },
        { symbol: 'ETH', quantity: '0.000000000000000001' },
      ]);
    }

    const [runs, alice] = await Promise.all([at.run('runs --json'), at.run('customers show alice --json')]);
    const streams = expect.arrayContaining([
      expect.objectContaining({
        stream: 'transactions',
        // Two walks.
        fetched: 2 * 6,
        pages: 2 * 3,
        balanced: true,
        complete: true,
      }),
      expect.objectContaining({ stream: 'assets', fetched: 2, pages: 1, balanced: true, complete: true }),
    ]);
    const run = (customerId: string) =>
      expect.objectContaining({ customer_id: customerId, mode: 'full', status: 'succeeded', streams });
    expect(JSON.parse(runs.stdout)).toEqual(expect.arrayContaining(CUSTOMERS.map(run)));
    expect(JSON.parse(alice.stdout)).toMatchObject({
      customer_id: 'alice',
      status: 'active',
      epoch: expect.stringMatching(/^\d+$/),
      credentials: { key_id: 'test' },
      checkpoints: [{ stream: 'assets' }, { stream: 'transactions' }],
      last_run: { customer_id: 'alice', status: 'succeeded' },
    });

    const queued = await queueContents(backend);
    expect(queued).toContain(QUEUE_NAME);
    const { code, stdout, stderr, tookMs } = await stop(worker);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(tookMs).toBeLessThan(10_000);
    expect(stdout).toMatch(/"stopping between two pages".*\n.*"stopped"}\n$/);
    const key = at.settings['CREDENTIALS_KEYS']?.split(':')[1] ?? '';
    for (const secret of [...tokens.flat(), at.sandbox.clientSecret, key]) {
      expect(secret.length).toBeGreaterThan(8);
      expect(stdout + runs.stdout + alice.stdout + queued).not.toContain(secret);
    }
  });
});

const QUEUE_NAME = 'calico-sync';

/** Everything that the queue holds, as text. */
function queueContents(backend: TestQueueBackend): Promise<string> {
  return backend.kind === 'redis' ? keysAndValues(backend) : rowsOfAllTables(backend);
}

async function keysAndValues({ url, prefix }: TestQueueBackend): Promise<string> {
  const redis = new Redis(url);
  try {
    const keys = await redis.keys(`${prefix}*`);
    const values = await Promise.all(keys.map((key) => contentOf(redis, key)));
    return JSON.stringify({ keys, values });
  } finally {
    redis.disconnect();
  }
}

async function contentOf(redis: Redis, key: string): Promise<unknown> {
  switch (await redis.type(key)) {
    case 'hash':
      return redis.hgetall(key);
    case 'list':
      return redis.lrange(key, 0, -1);
    case 'zset':
      return redis.zrange(key, '0', '-1');
    case 'set':
      return redis.smembers(key);
    case 'stream':
      return redis.xrange(key, '-', '+');
    default:
      return redis.get(key);
  }
}

async function rowsOfAllTables({ url, prefix }: TestQueueBackend): Promise<string> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const { rows } = await client.query<{ text: string }>(
      `SELECT string_agg(query_to_xml(format('SELECT * FROM %I.%I', schemaname, tablename), true, false, '')::text, '')
        AS text FROM pg_tables WHERE schemaname = $1`,
      [prefix],
    );
    return rows[0]?.text ?? '';
  } finally {
    await client.end();
  }
}
