/** Promises 1, 2 and 8 against real servers that are emptied, killed and cut off while everybody is synced. */
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import { type Customers, createCustomers } from '../support/faults/customers.ts';
import { type OwnRedis, startOwnRedis } from '../support/faults/own-redis.ts';
import { startWholeWorker } from '../support/faults/whole-worker.ts';
import type { WorldOptions } from '../support/world.ts';

/** Of records, changes and moments. */
const SEED = 20_260_401;

/** Customers at rest, a Redis of their own, and a worker between them. */
async function open(
  { skip }: TestContext,
  options: WorldOptions = {},
): Promise<Customers & { redis: OwnRedis; startWorker(prefix?: string): Promise<void> }> {
  const redis = await startOwnRedis();
  if (!redis) return skip('no redis-server in PATH');
  const customers = await createCustomers(SEED, options);
  const startWorker = async (prefix = 'faults') => {
    const worker = await startWholeWorker({ deps: customers.world.deps, queueUrl: redis.url, prefix });
    onTestFinished(worker.close);
  };
  return { ...customers, redis, startWorker };
}

test('a Redis that is emptied at 50 moments of syncs costs nobody anything', async (context) => {
  const { redis, startWorker, atRequest, draw, syncWhile, wrong } = await open(context);
  await startWorker();
  const FLUSHES = 50;
  let keysLost = 0;
  const flushes = async () => {
    for (let flush = 1; flush <= FLUSHES; flush++)
      await atRequest(1 + draw(40), async () => {
        const keys = await redis.burn();
        expect(keys, `the keys that flush ${flush} can lose`).toBeGreaterThan(0);
        keysLost += keys;
      });
  };

  const rounds = await syncWhile(flushes());

  await context.annotate(`seed ${SEED}: ${FLUSHES} FLUSHALLs lost ${keysLost} keys in ${rounds} rounds`);
  expect(await wrong(), `seed ${SEED}`).toEqual([]);
});
