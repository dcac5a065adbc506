/** Promises 1, 2 and 8 against real servers that are emptied, killed and cut off while everybody is synced. */

import { expect, onTestFinished, type TestContext, test } from 'vitest';
import type { Outcome } from '../../src/sync/outcome.ts';
import { type Customers, createCustomers } from '../support/faults/customers.ts';
import { type OwnRedis, startOwnRedis } from '../support/faults/own-redis.ts';
import { startWholeWorker, type WholeWorker } from '../support/faults/whole-worker.ts';
import { reportFigures } from '../support/figures.ts';
import { fetchesOf } from '../support/look.ts';
import { waitFor } from '../support/wait-for.ts';
import type { WorldOptions } from '../support/world.ts';

/** Of records, changes and moments. */
const SEED = 20_260_401;
const HOUR_MS = 60 * 60_000;

type Stage = Customers & {
  redis: OwnRedis;
  startWorker(prefix?: string, onOutcome?: (outcome: Outcome) => void): Promise<WholeWorker>;
};

/** Customers that are due, a Redis of their own, and workers between them. */
async function open({ skip }: TestContext, options: WorldOptions = {}): Promise<Stage> {
  const redis = await startOwnRedis();
  if (!redis) return skip('no redis-server in PATH');
  const customers = await createCustomers(SEED, options);
  const { deps } = customers.world;
  const startWorker: Stage['startWorker'] = async (prefix = 'faults', onOutcome = () => {}) => {
    const worker = await startWholeWorker({ deps, queueUrl: redis.url, prefix, onOutcome });
    onTestFinished(worker.close);
    return worker;
  };
  return { ...customers, redis, startWorker };
}

test('a Redis that is emptied at 50 moments of syncs costs nobody anything', async (context) => {
  const { redis, startWorker, atRequest, draw, syncWhile, wrong } = await open(context);
  await startWorker();
  const FLUSHES = 50;
  const keysLost: number[] = [];
  const flushes = async () => {
    for (let flush = 1; flush <= FLUSHES; flush++)
      await atRequest(1 + draw(40), async () => {
        keysLost.push(await redis.burn());
      });
  };

  const rounds = await syncWhile(flushes());

  const keys = keysLost.reduce((sum, lost) => sum + lost, 0);
  await context.annotate(`seed ${SEED}: ${keysLost.length} FLUSHALLs lost ${keys} keys in ${rounds} rounds`);
  // One that follows another before the tick finds the queue empty still.
  expect(keysLost.filter((lost) => lost > 0).length).toBeGreaterThan(FLUSHES / 2);
  expect(await wrong(), `seed ${SEED}`).toEqual([]);
  reportFigures({
    tried: 'Redis is emptied while twenty customers are synced',
    often: '50 random moments',
    result: 'nothing lost, nobody stuck',
  });
});

test('a Redis that dies and comes back empty lets the syncs under way end, and the others follow', async (context) => {
  // A slice's end needs the queue to go on.
  const { redis, startWorker, atRequest, draw, syncWhile, wrong, world } = await open(context, {
    settings: { slicePages: 50 },
  });
  await startWorker();
  const DEATHS = 3;
  const countEnded = async () => {
    const [row] = await world.rows<{ n: number }>(
      "SELECT count(*)::int AS n FROM calico.sync_runs WHERE status = 'succeeded'",
    );
    return row?.n ?? 0;
  };
  let endedWithout = 0;
  const deaths = async () => {
    for (let death = 1; death <= DEATHS; death++) {
      let before = 0;
      // Counted while that request waits: its sync may be the only one under way, and end at once.
      await atRequest(1 + draw(60), async () => {
        await redis.kill();
        before = await countEnded();
      });
      const after = await waitFor(countEnded, {
        describe: `a sync to end without Redis (death ${death})`,
        until: (ended) => ended > before,
      });
      endedWithout += after - before;
      await redis.restart();
    }
  };

  const rounds = await syncWhile(deaths());

  await context.annotate(
    `seed ${SEED}: ${DEATHS} SIGKILLs of Redis in ${rounds} rounds; ${endedWithout} runs were seen to end without it`,
  );
  expect(await wrong(), `seed ${SEED}`).toEqual([]);
  reportFigures({
    tried: 'Redis is killed and comes back empty while customers are synced',
    often: '3 times',
    result: 'the syncs under way end without it, the others follow',
  });
});

test('connections to Postgres that are all cut, 25 times, leave every page once and nobody behind', async (context) => {
  const { startWorker, atRequest, draw, syncWhile, wrong, world } = await open(context);
  await startWorker();
  const CUTS = 25;
  let connections = 0;
  let busy = 0;
  const cuts = async () => {
    for (let cut = 1; cut <= CUTS; cut++)
      await atRequest(1 + draw(60), async () => {
        const ended = await world.rows<{ state: string }>(
          `SELECT state, pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = 'calico-sync'`,
        );
        connections += ended.length;
        busy += ended.filter(({ state }) => state !== 'idle').length;
      });
  };

  const rounds = await syncWhile(cuts(), { cutWaits: true });

  await context.annotate(
    `seed ${SEED}: ${connections} connections cut, ${busy} of them busy, in ${CUTS} moments of ${rounds} rounds`,
  );
  expect(connections).toBeGreaterThanOrEqual(CUTS);
  expect(busy, 'connections that were cut in a statement or a transaction').toBeGreaterThan(0);
  expect(await wrong(), `seed ${SEED}`).toEqual([]);
  reportFigures({
    tried: 'Every connection to Postgres is cut at once while customers are synced',
    often: '25 random moments',
    result: 'nothing lost, every page there once, nobody stuck',
  });
});

test('customers on two queues with a worker each have one writer: every run once, every page once', async (context) => {
  const { startWorker, ids, change, untilSynced, wrong, world } = await open(context, {
    settings: { slicePages: 50 },
  });
  const ROUNDS = 8;
  const outcomes = { one: new Map<string, number>(), other: new Map<string, number>() };
  const startCounted = async (name: keyof typeof outcomes) => {
    const counts = outcomes[name];
    const worker = await startWorker(name, ({ kind }) => counts.set(kind, (counts.get(kind) ?? 0) + 1));
    return worker.queue;
  };
  const queues = [await startCounted('one'), await startCounted('other')];

  for (let round = 1; round <= ROUNDS; round++) {
    world.sandbox.clearRequests();
    await change();
    await Promise.all(queues.map(({ enqueueMany }) => enqueueMany(ids)));
    await untilSynced();
    const asked = ids.flatMap((id) =>
      [...fetchesOf(world, id)].map(([page, times]) => ({ id, page, times })),
    );
    expect(asked.filter(({ times }) => times > 1)).toEqual([]);
  }

  const runs = await world.rows(
    'SELECT customer_id, count(*)::int AS runs FROM calico.sync_runs GROUP BY 1 HAVING count(*) <> $1',
    [ROUNDS],
  );
  expect(runs, 'customers with more or fewer runs than rounds').toEqual([]);
  const said = [outcomes.one, outcomes.other].map((counts) => JSON.stringify(Object.fromEntries(counts)));
  await context.annotate(
    `seed ${SEED}: ${ROUNDS} rounds of ${ids.length} customers on two queues; the turns of each: ${said.join(', ')}`,
  );
  for (const counts of [outcomes.one, outcomes.other])
    expect([...counts.keys()].sort(), 'what became of the turns of a queue').toEqual(['done', 'not_run']);
  expect(await wrong(), `seed ${SEED}`).toEqual([]);
  reportFigures({
    tried: 'The same customers stand in two queues with a worker each',
    often: '8 rounds of 20 customers',
    result: 'one run each, every page asked for once',
  });
});

test('a clock that is set by an hour, forth and back, during syncs stops nobody and condemns nobody', async (context) => {
  let offsetMs = 0;
  const { startWorker, atRequest, draw, syncWhile, wrong, world } = await open(context, {
    now: () => Date.now() + offsetMs,
    sandbox: { now: Date.now, accessTokenTtlMs: 5_000 },
  });
  await startWorker();
  const STEPS = [HOUR_MS, 0, -HOUR_MS, 0, HOUR_MS, -HOUR_MS, HOUR_MS, 0, -HOUR_MS, HOUR_MS, 0];
  const steps = async () => {
    for (const step of STEPS)
      await atRequest(1 + draw(80), () => {
        offsetMs = step;
      });
  };

  const rounds = await syncWhile(steps());

  const refreshes = world.sandbox.requestsFor({ endpoint: 'token' }).length;
  await context.annotate(
    `seed ${SEED}: the clock was set ${STEPS.length} times in ${rounds} rounds; ${refreshes} tokens were refreshed`,
  );
  expect(refreshes, 'tokens that were refreshed by a wrong clock, or not in time').toBeGreaterThan(0);
  expect(await wrong(), `seed ${SEED}`).toEqual([]);
  reportFigures({
    tried: 'A worker’s clock is set by an hour, forth and back',
    often: 'at least 3 rounds',
    result: 'nobody stopped, nobody condemned, nothing lost',
  });
});
