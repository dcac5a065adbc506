/** Promises 1, 2 and 12: worker processes that are told to stop, stalled past their leases, or killed. */
import { pino } from 'pino';
import { expect, type TestContext, test } from 'vitest';
import { openQueueConnection } from '../../src/queue/connection.ts';
import { openSyncQueue } from '../../src/queue/enqueue.ts';
import type { SandboxRequest } from '../../src/sandbox/server-log.ts';
import { type Running, settingsFor, start } from '../cli/command.ts';
import { stop } from '../cli/installation.ts';
import { type Customers, createCustomers } from '../support/faults/customers.ts';
import { type OwnRedis, startOwnRedis } from '../support/faults/own-redis.ts';
import { startWorkerProcess } from '../support/faults/start-worker-process.ts';
import { startWholeWorker } from '../support/faults/whole-worker.ts';
import { reportFigures } from '../support/figures.ts';
import { versionsOf } from '../support/look.ts';
import { waitFor } from '../support/wait-for.ts';
import type { World, WorldOptions } from '../support/world.ts';

/** Of records, changes and moments. */
const SEED = 20_260_402;

type Stage = Customers & { redis: OwnRedis };

async function open({ skip }: TestContext, options: WorldOptions = {}): Promise<Stage> {
  const redis = await startOwnRedis();
  if (!redis) return skip('no redis-server in PATH');
  return { ...(await createCustomers(SEED, options)), redis };
}

/**
 * Lets a worker that was nowhere near finish what there is, with a queue that knows nothing; then everybody is synced once
 * more: a run that goes on does not read again what changed behind it.
 */
async function finish({ world, redis, makeAllDue, untilSynced }: Stage): Promise<void> {
  const worker = await startWholeWorker({ deps: world.deps, queueUrl: redis.url, prefix: 'afterwards' });
  try {
    await untilSynced();
    await makeAllDue();
    await untilSynced();
  } finally {
    await worker.close();
  }
}

const TEN_SECONDS = 10_000;
const WORKERS = 10;
/** In each batch of workers, how many are told to stop before Redis freezes. */
const FREEZE_AFTER = [WORKERS, 0, WORKERS / 2];

test('30 workers that are told to stop at random moments, half of them without Redis, are gone in ten seconds', async (context) => {
  const at = await open(context, { sandbox: { latencyMs: 20 } });
  const { world, redis, draw, change, requests, wrong } = at;
  const took = { answering: [] as number[], frozen: [] as number[] };
  let underWay = 0;
  for (const [batch, freezeAfter] of FREEZE_AFTER.entries()) {
    const workers = await startWorkers(world, redis, `batch_${batch}`);
    const before = requests();
    await change();
    await enqueueAll(at, `batch_${batch}`);
    await waitFor(() => requests() > before + draw(20), { describe: 'syncs to be under way' });

    const stops = [];
    for (const [index, worker] of workers.entries()) {
      if (index === freezeAfter) redis.freeze();
      const moment = requests() + draw(8);
      const leased = await waitFor(() => leases(world), {
        describe: `request ${moment}, or nobody to be at it`,
        until: (n) => requests() >= moment || n === 0,
      });
      if (leased > 0) underWay++;
      stops.push(stop(worker));
    }
    for (const [index, { code, stderr, tookMs }] of (await Promise.all(stops)).entries()) {
      expect({ code, stderr }, `seed ${SEED}, batch ${batch}`).toEqual({ code: 0, stderr: '' });
      expect(tookMs, `seed ${SEED}, batch ${batch}`).toBeLessThan(TEN_SECONDS);
      took[index < freezeAfter ? 'answering' : 'frozen'].push(Math.round(tookMs));
    }
    redis.thaw();
    expect(await leases(world), `customers leased though no worker lives (batch ${batch})`).toBe(0);
    expect(
      await world.rows("SELECT customer_id, reason FROM calico.sync_runs WHERE status = 'running'"),
      `runs left running (seed ${SEED}, batch ${batch})`,
    ).toEqual([]);
  }
  await finish(at);

  const { answering, frozen } = took;
  await context.annotate(
    `seed ${SEED}: ${answering.length + frozen.length} SIGTERMs, ${underWay} while customers were synced; slowest ${Math.max(...answering)} ms with Redis, ${Math.max(...frozen)} ms without`,
  );
  expect(underWay).toBeGreaterThanOrEqual(20);
  expect(await wrong(), `seed ${SEED}`).toEqual([]);
  reportFigures({
    tried: 'A worker is told to stop (SIGTERM), half of them while Redis does not answer',
    often: '30 random moments',
    result: 'each ends with 0 within 10 s and leaves no lease and no run under way',
  });
});

/** The real command, several times. */
async function startWorkers(world: World, redis: OwnRedis, prefix: string): Promise<Running[]> {
  const key = world.deps.keys.get('test')?.toString('base64');
  const settings = {
    ...settingsFor(world.database.url, redis.url, world.sandbox),
    ...{ CREDENTIALS_KEYS: `test:${key}`, QUEUE_PREFIX: prefix, CALICO_PAGE_LIMIT: '4' },
  };
  const workers = Array.from({ length: WORKERS }, () => start(settings, 'worker'));
  for (const worker of workers) await worker.prints('worker started');
  return workers;
}

async function enqueueAll({ ids, redis }: Stage, prefix: string): Promise<void> {
  const connection = openQueueConnection(redis.url, prefix);
  const queue = await openSyncQueue({ connection, log: pino({ level: 'silent' }) });
  await queue.enqueueMany(ids);
  await queue.close();
}

async function leases({ rows }: World): Promise<number> {
  return (await rows('SELECT FROM calico.customers WHERE lease_until > clock_timestamp()')).length;
}

test('a worker that was stalled past its leases and wakes up writes nothing, at 20 requests of 20 customers', async (context) => {
  /** How many requests of a customer pass before one is held; each but the first few holds a page. */
  const held = new Map<string, number>();
  const letGo = Promise.withResolvers<void>();
  let holding = 0;
  const onRequest = async ({ customerId, tokenFingerprint }: SandboxRequest) => {
    const left = held.get(customerId ?? '');
    if (left === undefined || tokenFingerprint === null) return;
    held.set(customerId ?? '', left - 1);
    if (left !== 1) return;
    held.delete(customerId ?? '');
    holding++;
    await letGo.promise;
  };
  const at = await open(context, { sandbox: { onRequest }, settings: { slicePages: 50 } });
  const { world, redis, ids, draw, change, wrong } = at;
  for (const id of ids) held.set(id, 1 + draw(6));

  const sleeper = await startWorkerProcess(world, { url: redis.url, prefix: 'sleeper' });
  await waitFor(() => holding === ids.length, { describe: 'a request of everybody to be held' });
  sleeper.stall();
  letGo.resolve(); // the answers arrive, of the time before the change
  await waitFor(() => world.sandbox.requests.every(({ status }) => status !== null), {
    describe: 'the answers to be sent',
  });
  await change();
  for (const id of ids) await world.expireLease(id);
  await finish(at);
  expect(await wrong(), `after the takeover (seed ${SEED})`).toEqual([]);
  const versions = await Promise.all(ids.map((id) => versionsOf(world, id)));

  sleeper.wake();
  // Beside these are jobs that it finds stalled, its own, and runs again: nobody is due.
  const turns = () => sleeper.outcomes().filter((kind) => kind !== 'not_run');
  await waitFor(turns, {
    describe: 'the sleeper to end its turns',
    until: ({ length }) => length >= ids.length,
  });

  expect(turns()).toEqual(ids.map(() => 'fenced'));
  expect(await Promise.all(ids.map((id) => versionsOf(world, id)))).toEqual(versions);
  await context.annotate(`seed ${SEED}: ${turns().length} turns fenced`);
  expect(await wrong(), `seed ${SEED}`).toEqual([]);
  reportFigures({
    tried: 'A worker is stopped (SIGSTOP) past its leases, another takes over, the first wakes up',
    often: '20 customers',
    result: 'each of its turns is fenced, no row is touched',
  });
});

test('the customers of a worker that is killed are taken over within two leases', async (context) => {
  const LEASE_MS = 3_000;
  const never = new Promise<never>(() => {});
  let holding = 0;
  let holds = true;
  const onRequest = async ({ endpoint }: SandboxRequest) => {
    if (!holds || endpoint !== 'transactions') return;
    holding++;
    await never;
  };
  const at = await open(context, { sandbox: { onRequest }, settings: { leaseMs: LEASE_MS } });
  const { world, redis, ids, wrong, untilSynced } = at;
  const queue = { url: redis.url, prefix: 'killed' };
  const victim = await startWorkerProcess(world, queue);
  await waitFor(() => holding === ids.length, { describe: 'everybody to be at a page' });
  holds = false;
  await victim.kill();
  const killedAt = performance.now();
  const leased = await world.rows<{ customer_id: string; epoch: string }>(
    'SELECT customer_id, epoch FROM calico.customers WHERE lease_until > clock_timestamp()',
  );
  expect(leased).toHaveLength(ids.length);

  const heir = await startWholeWorker({ deps: world.deps, queueUrl: redis.url, prefix: queue.prefix });
  const untouched = () =>
    world.rows(
      'SELECT FROM calico.customers JOIN unnest($1::text[], $2::bigint[]) AS was (customer_id, epoch) USING (customer_id, epoch)',
      [leased.map(({ customer_id }) => customer_id), leased.map(({ epoch }) => epoch)],
    );
  await waitFor(untouched, {
    describe: 'everybody to be taken over',
    until: ({ length }) => length === 0,
  });
  const tookMs = performance.now() - killedAt;
  await untilSynced();
  await heir.close();

  await context.annotate(`${ids.length} customers were taken over ${Math.round(tookMs)} ms after the death`);
  expect(tookMs).toBeLessThan(2 * LEASE_MS);
  expect(await wrong(), `seed ${SEED}`).toEqual([]);
  reportFigures({
    tried: 'A worker is killed, and its leases run out',
    often: '20 customers',
    result: 'all are taken over within two leases',
  });
});
