/** Promise 10: what Calico tells one worker, all of them heed; one probe asks whether it is over. */
import { expect, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/db/client.ts';
import { listDueCustomers } from '../../src/db/customers.ts';
import { readFleetPause } from '../../src/db/fleet-pause.ts';
import { acquireLease } from '../../src/db/leases.ts';
import type { FaultRule } from '../../src/sandbox/faults.ts';
import { createFleet } from '../../src/sync/fleet.ts';
import type { Outcome } from '../../src/sync/outcome.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import type { SyncDeps } from '../../src/sync/turn.ts';
import { createGate } from '../support/gate.ts';
import { deadLettersOf, runsOf } from '../support/look.ts';
import { sends } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, UNLIMITED, type World, type WorldOptions } from '../support/world.ts';

const HOUR_MS = 60 * 60_000;
const NAMES = ['alice', 'bob', 'carol', 'dave', 'erin'];

/** Five customers who have five transactions each, in pages of two. */
async function createFive(options: WorldOptions = {}): Promise<World> {
  const world = await createWorld({ ...options, settings: { pageLimit: 2, ...options.settings } });
  for (const name of NAMES) {
    world.data.add('transactions', name, ...sends(5));
    await world.addCustomer(name);
  }
  return world;
}

/** Another process: connections and a memory of its own. */
function secondProcess({ deps, database }: World): SyncDeps {
  const db = openDatabase({ url: database.url, maxConnections: 6 });
  onTestFinished(() => db.close());
  const { log, now, random, settings } = deps;
  const own = { db, log, now, random, limiter: UNLIMITED, maxWaitMs: settings.maxWaitMs, lookEveryMs: 0 };
  return { ...deps, db, fleet: createFleet(own) };
}

const turnIn = (deps: SyncDeps, customerId: string): Promise<Outcome> =>
  runSync(deps, customerId, new AbortController().signal);
const pauseOf = ({ db }: Pick<SyncDeps, 'db'>) => db.run(readFleetPause);
const dueIn = ({ db }: SyncDeps) => db.run((orm) => listDueCustomers(orm, 100));
const refuse = (world: World, rule: Omit<FaultRule, 'answer'>, status: number, retryAfter?: string) =>
  world.sandbox.faults.add({
    ...rule,
    answer: { status, ...(retryAfter ? { headers: { 'retry-after': retryAfter } } : {}) },
  });
const waitIsOver = (world: World) =>
  world.rows(
    `WITH over AS (UPDATE calico.fleet_pause SET until = now()) UPDATE calico.customers SET not_before = NULL`,
  );

test('one process hears 503: in both nothing is asked any more, until one probe has been answered', async () => {
  const inFlight = createGate(({ endpoint, customerId }) => endpoint === 'assets' && customerId === 'bob');
  let probing: ReturnType<typeof createGate> | null = null;
  const world = await createFive({
    sandbox: { onRequest: async (request) => void (await (probing ?? inFlight).onRequest(request)) },
  });
  const other = secondProcess(world);
  refuse(world, { endpoint: 'assets', customerId: 'alice' }, 503);

  // Bob is under way in the other process.
  const bob = turnIn(other, 'bob');
  await inFlight.arrival;
  expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'wait' });
  inFlight.open();
  expect(await bob).toMatchObject({
    kind: 'later',
    why: 'wait',
    reason: expect.stringContaining('all workers wait'),
  });
  expect(world.sandbox.requestsFor({ customerId: 'bob', method: 'GET' })).toHaveLength(1);
  expect(await runsOf(world, 'bob')).toMatchObject([{ status: 'waiting', attempts: 0 }]);

  // Nobody starts, nobody is enqueued.
  for (const deps of [world.deps, other]) {
    expect(await turnIn(deps, 'carol')).toMatchObject({ kind: 'not_run' });
    expect(await dueIn(deps)).toEqual([]);
  }
  expect(await pauseOf(other)).toMatchObject({ situation: '503', refusals: 1, probe: null });

  // The wait is over: of all who start at once, in both processes, one asks.
  await waitIsOver(world);
  expect(await dueIn(other)).toHaveLength(3);
  world.sandbox.clearRequests();
  probing = createGate(() => true);
  const outcomes = new Map<string, Outcome>();
  const turns = NAMES.map(async (name, index) => {
    outcomes.set(name, await turnIn(index % 2 ? other : world.deps, name));
  });
  const { customerId: probe } = await probing.arrival;
  await waitFor(() => outcomes.size === 4, { describe: 'all but the probe to be turned away' });
  expect([...outcomes.values()]).toEqual(Array(4).fill(expect.objectContaining({ kind: 'not_run' })));
  expect(world.sandbox.requests).toHaveLength(1);
  expect(await pauseOf(world)).toMatchObject({ probe });
  expect(await dueIn(other)).toEqual([]);

  // It is answered: everybody goes on where they were.
  probing.open();
  await Promise.all(turns);
  expect(outcomes.get(probe ?? '')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(await pauseOf(other)).toBeNull();
  for (const name of NAMES.filter((one) => one !== probe)) {
    expect(await turnIn(other, name)).toMatchObject({ kind: 'done', status: 'succeeded' });
  }
  expect(await deadLettersOf(world, 'bob')).toEqual([]);
});

test('Retry-After is a floor, in seconds and as a date; a probe that is refused prolongs, and the waits grow', async () => {
  const world = await createFive({ random: () => 0.999 });
  refuse(world, { endpoint: 'assets', customerId: 'alice' }, 429, '120');
  await world.sync('alice');
  const first = await pauseOf(world);
  expect(first).toMatchObject({ situation: '429' });
  expect(first?.leftMs).toBeGreaterThan(119_000);
  expect(first?.leftMs).toBeLessThan(126_000);

  // The probe is told a date.
  await waitIsOver(world);
  const date = new Date(Date.now() + 300_000).toUTCString();
  refuse(world, { endpoint: 'refreshAssets', customerId: 'bob' }, 503, date);
  expect(await world.sync('bob')).toMatchObject({ kind: 'later', why: 'wait' });
  const second = await pauseOf(world);
  expect(second).toMatchObject({ situation: '503', refusals: 2, since: first?.since });
  expect(second?.until.getTime()).toBeGreaterThanOrEqual(Date.parse(date) - 1_000);

  // The next is told nothing: first five seconds, after twenty minutes of it ten minutes.
  await waitIsOver(world);
  refuse(world, { endpoint: 'refreshAssets', customerId: 'carol' }, 429);
  await world.sync('carol');
  expect((await pauseOf(world))?.leftMs).toBeLessThan(6_000);
  await world.rows(`UPDATE calico.fleet_pause SET since = now() - interval '20 minutes', until = now()`);
  refuse(world, { endpoint: 'refreshAssets', customerId: 'dave' }, 429);
  await world.sync('dave');
  expect((await pauseOf(world))?.leftMs).toBeGreaterThan(9 * 60_000);

  // What says nothing of Calico ends nothing; what only the customer is refused does.
  await waitIsOver(world);
  refuse(world, { endpoint: 'refreshAssets', customerId: 'erin' }, 500);
  expect(await world.sync('erin')).toMatchObject({ kind: 'later', why: 'retry' });
  expect(await pauseOf(world)).toMatchObject({ probe: null });
  refuse(world, { endpoint: 'refreshAssets', customerId: 'dave' }, 404);
  expect(await world.sync('dave')).toMatchObject({ kind: 'dead_lettered' });
  expect(await pauseOf(world)).toBeNull();

  // Soon after, it is the same trouble still; later on a new one.
  refuse(world, { endpoint: 'assets', customerId: 'alice' }, 429, '30');
  await world.sync('alice');
  expect(await pauseOf(world)).toMatchObject({ refusals: 5 });
  await world.rows(`UPDATE calico.fleet_pause SET opened_at = now() - interval '1 minute'`);
  refuse(world, { endpoint: 'assets', customerId: 'bob' }, 429, '30');
  await world.sync('bob');
  expect(await pauseOf(world)).toMatchObject({ refusals: 1 });
});

test('a token that is traded says nothing of the API: the fleet waits until the probe’s own question is answered', async () => {
  let probing: ReturnType<typeof createGate> | null = null;
  const world = await createFive({
    sandbox: { onRequest: async (request) => void (await probing?.onRequest(request)) },
  });
  refuse(world, { endpoint: 'assets', customerId: 'alice' }, 503);
  await world.sync('alice');
  await waitIsOver(world);
  await world.rows('UPDATE calico.credentials SET access_expires_at = now()');

  probing = createGate(({ endpoint }) => endpoint === 'refreshAssets');
  const bob = world.sync('bob');
  await probing.arrival;
  expect(world.sandbox.requests.filter(({ endpoint }) => endpoint === 'token')).toHaveLength(1);
  expect(await pauseOf(world)).toMatchObject({ probe: 'bob' });
  expect(await world.sync('carol')).toMatchObject({ kind: 'not_run' });
  probing.open();
  expect(await bob).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(await pauseOf(world)).toBeNull();

  // A customer whose sign-in is refused by the token endpoint has not asked the API anything either.
  refuse(world, { endpoint: 'assets', customerId: 'alice' }, 503);
  await world.rows(`UPDATE calico.customers SET next_sync_at = now()`);
  await world.sync('alice');
  await waitIsOver(world);
  world.sandbox.faults.add({ endpoint: 'token', answer: { status: 400, body: { error: 'invalid_grant' } } });
  await world.rows('UPDATE calico.credentials SET access_expires_at = now()');
  expect(await world.sync('carol')).toMatchObject({ kind: 'dead_lettered' });
  expect(await pauseOf(world)).toMatchObject({ probe: null });
});

test('a probe whose worker dies is followed by another, and only the latest one’s word counts', async () => {
  const world = await createFive();
  const { signal } = new AbortController();
  const bearer = world.sandbox.issueTokens('bob').access_token;
  const takeLease = () => world.db.transaction(({ orm }) => acquireLease(orm, 'bob', 60_000));
  const hearAs = async (lease: Awaited<ReturnType<typeof takeLease>>) => {
    if (!lease?.isProbe) throw new Error('bob is not the probe');
    const client = world.deps.fleet.clientFor(world.deps.client, lease, signal);
    await client.send({ endpoint: 'refreshAssets', bearer, signal });
    return pauseOf(world);
  };
  refuse(world, { endpoint: 'assets', customerId: 'alice' }, 503, '60');
  await world.sync('alice');
  await waitIsOver(world);

  const dead = await takeLease();
  expect(await world.sync('carol')).toMatchObject({ kind: 'not_run' });
  await world.expireLease('bob');
  const second = await takeLease();
  expect(await hearAs(dead), 'the dead one’s').toMatchObject({ probe: 'bob' });
  await world.rows(`UPDATE calico.fleet_pause SET until = now() + interval '1 minute'`);
  expect(await hearAs(second), 'while another was told to wait longer').toMatchObject({ probe: 'bob' });
  await waitIsOver(world);
  expect(await hearAs(second)).toBeNull();
});

test('an answer that came is not lost where Postgres does not take that the pause is over', async () => {
  const world = await createFive({ ownDatabase: true });
  refuse(world, { endpoint: 'assets', customerId: 'alice' }, 503);
  await world.sync('alice');
  await waitIsOver(world);
  await world.rows(`
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON calico.fleet_pause
      FOR EACH ROW WHEN (NEW.opened_at IS NOT NULL) EXECUTE FUNCTION refuse()`);
  expect(await world.sync('bob')).toMatchObject({ kind: 'later', why: 'wait' });
  expect(await world.rows(`SELECT refreshed FROM calico.sync_runs WHERE customer_id = 'bob'`)).toEqual([
    { refreshed: ['assets'] },
  ]);
  expect(await runsOf(world, 'bob')).toMatchObject([{ attempts: 0 }]);

  await world.rows('DROP TRIGGER refuse ON calico.fleet_pause');
  await waitIsOver(world);
  expect(await world.sync('carol')).toMatchObject({ kind: 'done' });
  expect(await pauseOf(world)).toBeNull();
});

test('the token endpoint’s 429 counts; the longest wait ends whoever asks, and nobody who only waits', async () => {
  const world = await createFive({ settings: { maxWaitMs: HOUR_MS } });
  await world.rows(`UPDATE calico.credentials SET access_expires_at = now() WHERE customer_id = 'alice'`);
  refuse(world, { endpoint: 'token', times: Number.POSITIVE_INFINITY }, 429, '60');
  expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'wait' });
  expect(await world.sync('bob')).toMatchObject({ kind: 'not_run' });

  // Alice has asked and waited for long, bob and the others have only waited.
  await world.rows(`UPDATE calico.sync_runs SET waiting_since = now() - interval '61 minutes'`);
  await waitIsOver(world);
  expect(await world.sync('alice')).toMatchObject({
    kind: 'dead_lettered',
    reason: expect.stringContaining('waited 61 minutes'),
  });
  await waitIsOver(world);
  expect(await world.sync('bob')).toMatchObject({ kind: 'done', status: 'succeeded' });

  // Calico names a time beyond it: somebody asks all the same when it is reached.
  refuse(world, { endpoint: 'assets', customerId: 'carol' }, 503, String(24 * 60 * 60));
  expect(await world.sync('carol')).toMatchObject({ kind: 'dead_lettered' });
  const pause = await pauseOf(world);
  expect(pause?.leftMs).toBeGreaterThan(HOUR_MS - 10_000);
  expect(pause?.leftMs).toBeLessThanOrEqual(HOUR_MS);
  expect(await world.sync('dave')).toMatchObject({ kind: 'not_run' });
  expect(await deadLettersOf(world, 'dave')).toEqual([]);
});
