/**
 * Every code that Calico documents, as HTTP status and in the body, and whatever else may come, at every endpoint:
 * through a real server, a real queue and a real database, with what each leaves behind. Then Calico is well again, and
 * nobody is stuck.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { expect, test } from 'vitest';
import { DOCUMENTED_CODES } from '../../src/calico/response-codes.ts';
import { readFleetPause } from '../../src/db/fleet-pause.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { openTestQueue, type TestQueue } from '../queue/harness.ts';
import { describeOnOneQueue } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, type World } from '../support/world.ts';
import {
  type Case,
  ENDPOINTS,
  endings,
  type Leaves,
  RECORDS,
  REFUSALS,
  SECOND_PAGE,
  SUCCESSES,
  WAITS,
  waits,
} from './every-answer-cases.ts';

const ALWAYS = Number.POSITIVE_INFINITY;
/** All clocks but Postgres' stand still, so that waits add up to the millisecond. */
const NOW_MS = Date.now();

test('the cases have every documented code', () => {
  const codes = [...Object.keys(REFUSALS).map(Number), ...SUCCESSES, ...WAITS];
  expect(codes.sort((a, b) => a - b)).toEqual([...DOCUMENTED_CODES]);
});

describeOnOneQueue('every answer at every endpoint', (backend) => {
  test('leaves behind what response-codes.md says, and nobody stuck', { timeout: 240_000 }, async () => {
    const queue = await openTestQueue(backend);
    const world = await createWorld({
      now: () => NOW_MS,
      random: () => 0.5,
      maxBodyBytes: 50_000,
      settings: { pageLimit: 2, refreshSettleMs: 5_000 },
    });
    const waitedMs = await startWorker(queue, world);
    const cases = [...endings(), ...waits()];
    for (const one of cases) await prepare(world, one);
    await syncAll(
      queue,
      world,
      cases.filter(({ at }) => at === 'second run'),
    );
    await world.rows('DELETE FROM calico.sync_runs');
    world.sandbox.clearRequests();
    for (const one of cases) addFault(world, one);

    await syncAll(queue, world, endings());
    for (const one of waits()) await syncAll(queue, world, [one]);
    const wrong: object[] = [];
    for (const { name, leaves: expected, times } of cases) {
      const seen = await leftBehind(world, name, waitedMs.get(name) ?? 0);
      // Retry-After and up to 5 s of jitter, less what has passed of it.
      if (times === 1) seen.waitedS -= seen.waitedS % 60;
      if (!isDeepStrictEqual(seen, expected)) wrong.push({ name, expected, seen });
    }
    expect.soft(wrong.slice(0, 5)).toEqual([]);
    expectInReadme(`${cases.length - wrong.length} of ${cases.length}`);

    world.sandbox.faults.clear();
    for (const { name } of cases) await world.addCustomer(name);
    await syncAll(queue, world, cases);
    expect(await stuckIn(world)).toEqual([]);
  });
});

/** A worker on the queue; waits are cut short, and added up by customer. */
async function startWorker(queue: TestQueue, world: World): Promise<Map<string, number>> {
  const waitedMs = new Map<string, number>();
  await queue.startWorker({
    concurrency: 4,
    runSync: async (customerId, stop) => {
      const outcome = await runSync(world.deps, customerId, stop);
      if (outcome.kind !== 'later') return outcome;
      const ms = outcome.notBefore.getTime() - NOW_MS;
      const pause = await world.db.run(readFleetPause);
      expect(pause !== null, `${customerId} ${outcome.why}`).toBe(outcome.why === 'wait');
      waitedMs.set(customerId, (waitedMs.get(customerId) ?? 0) + ms);
      await world.makeDue(customerId);
      return { ...outcome, notBefore: new Date(0) };
    },
  });
  return waitedMs;
}

async function prepare(world: World, { name, endpoint, at }: Case): Promise<void> {
  world.data.addCustomer(name);
  world.data.add('assets', name, ...RECORDS.assets);
  world.data.add('transactions', name, ...RECORDS.transactions);
  if (at === 'second page') world.data.add('transactions', name, ...SECOND_PAGE);
  await world.addCustomer(name);
  if (endpoint !== 'token') return;
  await world.rows(
    "UPDATE calico.credentials SET access_expires_at = now() - interval '1 hour' WHERE customer_id = $1",
    [name],
  );
}

function addFault(world: World, { name, endpoint, at, times = ALWAYS, answer }: Case): void {
  world.sandbox.faults.add({
    endpoint,
    customerId: name,
    times,
    ...(at === 'second page' ? { when: ({ query }) => query['cursor'] !== undefined } : {}),
    answer: answer(world, name),
  });
}

/** Makes the cases' customers due, and waits until each has ended a run. */
async function syncAll(queue: TestQueue, world: World, cases: readonly Case[]): Promise<void> {
  const ids = cases.map(({ name }) => name);
  const [clock] = await world.rows<{ now: Date }>('SELECT clock_timestamp() AS now');
  await world.rows('UPDATE calico.customers SET next_sync_at = now() WHERE customer_id = ANY ($1)', [ids]);
  await queue.sync.enqueueMany(ids);
  const ended = 'SELECT count(*)::int AS runs FROM calico.sync_runs WHERE finished_at > $1';
  await waitFor(async () => (await world.rows<{ runs: number }>(ended, [clock?.now]))[0]?.runs, {
    describe: `${ids.length} runs to end`,
    until: (runs) => runs === ids.length,
    timeoutMs: 150_000,
  });
}

async function leftBehind(world: World, customerId: string, waitedMs: number): Promise<Leaves> {
  const [row] = await world.rows<Omit<Leaves, 'requests' | 'waitedS'>>(
    `SELECT (SELECT string_agg(status, ', ') FROM calico.sync_runs WHERE customer_id = $1) AS run, status AS customer,
       (SELECT json_build_object('code', code, 'fault', fault) FROM calico.dead_letters WHERE customer_id = $1) AS "deadLetter",
       (SELECT state FROM calico.provider_status WHERE customer_id = $1 AND provider_id = 'kraken') AS provider
     FROM calico.customers WHERE customer_id = $1`,
    [customerId],
  );
  if (!row) throw new Error(`there is no customer ${customerId}`);
  const asked = ENDPOINTS.map((endpoint) => {
    return [endpoint, world.sandbox.requestsFor({ customerId, endpoint }).length] as const;
  });
  const requests = Object.fromEntries(asked.filter(([, times]) => times > 0));
  return { ...row, requests, waitedS: waitedMs / 1000 };
}

/** Who is not active, whose last run is not green, or whose transactions are not all there. */
async function stuckIn(world: World): Promise<object[]> {
  const customers = await world.rows<{ customerId: string; status: string; run: string; rows: number }>(
    `SELECT customer_id AS "customerId", status,
       (SELECT status FROM calico.sync_runs r WHERE r.customer_id = c.customer_id ORDER BY started_at DESC LIMIT 1) AS run,
       (SELECT count(*)::int FROM calico.transactions t WHERE t.customer_id = c.customer_id) AS rows
     FROM calico.customers c`,
  );
  return customers.filter(({ customerId, status, run, rows }) => {
    return (
      status !== 'active' ||
      run !== 'succeeded' ||
      rows !== world.sandbox.data.count('transactions', customerId)
    );
  });
}

const README = fileURLToPath(new URL('../../README.md', import.meta.url));

/** The README's figure is this test's: written here, and in CI expected to be there. */
function expectInReadme(figure: string): void {
  const text = readFileSync(README, 'utf8');
  const current = text.replace(/(<!-- every answer: -->)[^<]*/, `$1${figure}`);
  if (process.env['CI'] === undefined) writeFileSync(README, current);
  else expect(text).toBe(current);
  expect(current).toContain(`<!-- every answer: -->${figure}<`);
}
