/** Promises 1 and 8: a Postgres that ends under worker processes and comes back, with the queue beside it or in it. */
import { expect, type TestContext, test } from 'vitest';
import { migrateQueue } from '../../src/queue/connection.ts';
import { settingsFor, startFastWorker } from '../cli/command.ts';
import { stop } from '../cli/installation.ts';
import { createCustomers } from '../support/faults/customers.ts';
import { startOwnPostgres } from '../support/faults/own-postgres.ts';
import { startOwnRedis } from '../support/faults/own-redis.ts';
import { reportFigures } from '../support/figures.ts';

/** Of records, changes and moments. */
const SEED = 20_260_403;
/** As in production a lock is half a lease. */
const PACE = { leaseMs: 1_800, lockMs: 900, tickMs: 150 };
/** Requests between two restarts: mostly too few for a page of everybody's. Nobody may be taken for a customer whom workers die of. */
const APART = { least: 10, most: 40 };
const RESTARTS = ['fast', 'crash', 'fast', 'crash', 'fast', 'crash'] as const;

/** The real command works on while its Postgres is ended and started again; every customer is whole and due as ever afterwards. */
async function restartUnderWorker(context: TestContext, redisUrl: string | null): Promise<void> {
  const postgres = await startOwnPostgres();
  const { database } = postgres;
  const { world, atRequest, draw, syncWhile, wrong } = await createCustomers(SEED, { database });
  const queueUrl = redisUrl ?? database.url;
  await migrateQueue(queueUrl, 'restarts');
  const settings = {
    ...settingsFor(database.url, queueUrl, world.sandbox),
    ...{ CREDENTIALS_KEYS: `test:${world.deps.keys.get('test')?.toString('base64')}` },
    ...{ QUEUE_PREFIX: 'restarts', CALICO_PAGE_LIMIT: '4', SLICE_PAGES: '3' },
  };
  const worker = startFastWorker(settings, PACE);
  await worker.prints('worker started');

  let underWay = 0;
  const restarts = async () => {
    for (const how of RESTARTS)
      await atRequest(APART.least + draw(APART.most - APART.least), async () => {
        underWay += (await world.rows('SELECT FROM calico.customers WHERE lease_until > now()')).length;
        await postgres.restart(how);
      });
  };
  const rounds = await worker.during(syncWhile(restarts(), { cutWaits: true }));

  const { code, stderr } = await stop(worker);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  await context.annotate(
    `seed ${SEED}: ${RESTARTS.length} restarts in ${rounds} rounds, ${underWay} syncs under way at them`,
  );
  expect(underWay).toBeGreaterThanOrEqual(RESTARTS.length);
  expect(await wrong(), `seed ${SEED}`).toEqual([]);
}

test('a Postgres that is stopped or killed under syncs costs a delay: the queue is on Redis', async (context) => {
  const redis = await startOwnRedis();
  if (!redis) return context.skip('no redis-server in PATH');
  await restartUnderWorker(context, redis.url);
  reportFigures({
    tried: 'Postgres is stopped or killed and started again while a worker on Redis syncs customers',
    often: '3 times each',
    result: 'nothing lost, every page there once, nobody stuck; the worker lives',
  });
});

test('a Postgres that is stopped or killed under syncs costs a delay: the queue is in it', async (context) => {
  await restartUnderWorker(context, null);
  reportFigures({
    tried: 'Postgres is stopped or killed and started again while a worker on its queue syncs customers',
    often: '3 times each',
    result: 'nothing lost, every page there once, nobody stuck; the worker lives',
  });
});
