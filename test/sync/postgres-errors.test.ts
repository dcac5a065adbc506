/** What Postgres refuses for reasons of its own, whatever it was asked: it is asked again, and nothing is lost. */
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/db/client.ts';
import { createFleet } from '../../src/sync/fleet.ts';
import type { Outcome } from '../../src/sync/outcome.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { differences, digestsOf, faultsOf } from '../support/crash/digest.ts';
import { deadLettersOf, fetchesOf } from '../support/look.ts';
import { position, sends } from '../support/records.ts';
import { createWorld, UNLIMITED, type World } from '../support/world.ts';

/** SQLSTATEs of the PostgreSQL manual, appendix A, and what a person reads of them. */
const REFUSALS = {
  '40001': 'another transaction was in the way: ',
  '40P01': 'another transaction was in the way: ',
  '53100': 'no disk space is left: ',
  '53300': 'no connection is left; see max_connections: ',
  '57P03': 'it is starting or shutting down: ',
  '58030': '',
};
const STATES = Object.keys(REFUSALS);

/** Decides at each statement: the SQLSTATE that it fails with, or null. */
type Refuse = (statement: string) => string | null;

async function open() {
  const world = await createWorld({ settings: { pageLimit: 2 }, random: () => 0 });
  const errors = new Map<string, unknown>();
  for (const state of STATES) errors.set(state, await errorOf(world, state));
  let refuse: Refuse = () => null;
  const db = openDatabase({
    url: world.database.url,
    maxConnections: 2,
    onStatement: (moment) => {
      const state = moment.endsWith(':before') ? refuse(moment) : null;
      if (state !== null) throw errors.get(state);
    },
  });
  onTestFinished(() => db.close());
  const { maxWaitMs } = world.deps.settings;
  const own = { ...world.deps, db };
  const deps = { ...own, fleet: createFleet({ ...own, maxWaitMs, limiter: UNLIMITED, lookEveryMs: 0 }) };
  const addCustomer = async (customerId: string) => {
    world.data.add('assets', customerId, position('BTC', '1'));
    world.data.add('transactions', customerId, ...sends(5));
    await world.addCustomer(customerId);
  };
  /** Turns until the run is over; waits are cut short, a lease that could not be given back has run out. */
  const syncToEnd = async (customerId: string, refusing: Refuse): Promise<Outcome> => {
    for (let turn = 0; turn < 20; turn++) {
      refuse = refusing;
      const outcome = await runSync(deps, customerId, new AbortController().signal);
      refuse = () => null;
      if (outcome.kind !== 'later' && outcome.kind !== 'failed') return outcome;
      await world.expireLease(customerId);
      await world.makeDue(customerId);
    }
    throw new Error(`the sync of ${customerId} did not end`);
  };
  return { world, addCustomer, syncToEnd };
}

/** As the server sends it. */
async function errorOf(world: World, state: string): Promise<pg.DatabaseError> {
  const raised = world.rows(
    `DO $$ BEGIN RAISE EXCEPTION 'said the server' USING ERRCODE = '${state}'; END $$`,
  );
  const error = await raised.catch((reason: unknown) => reason);
  if (!(error instanceof pg.DatabaseError)) throw new Error(`Postgres raised nothing for ${state}`);
  return error;
}

test('each kind of statement in a sync may fail once, for any of these reasons, and the sync ends as if it had not', async () => {
  const { world, addCustomer, syncToEnd } = await open();
  await addCustomer('undisturbed');
  const kinds = new Set<string>();
  await syncToEnd('undisturbed', (statement) => {
    kinds.add(statement);
    return null;
  });
  expect(kinds.size).toBeGreaterThan(20);
  const wrong: string[] = [];
  for (const [nth, kind] of [...kinds].entries()) {
    const state = STATES[nth % STATES.length] ?? '';
    const customerId = `${state} at ${kind}`;
    await addCustomer(customerId);
    let refused = false;
    const outcome = await syncToEnd(customerId, (statement) => {
      if (refused || statement !== kind) return null;
      refused = true;
      return state;
    });
    expect(outcome, customerId).toMatchObject({ kind: 'done', status: 'succeeded' });
    expect(refused, customerId).toBe(true);
    const again = [...fetchesOf(world, customerId).values()].filter((times) => times > 1);
    // The page that was not written, and the one that was asked for meanwhile.
    if (again.length > 2) wrong.push(`${customerId}: ${again.length} pages were fetched again`);
    const digests = await digestsOf(world, ['undisturbed', customerId], { removals: true });
    const found = differences(digests.get('undisturbed') ?? [], digests.get(customerId) ?? []);
    wrong.push(
      ...[...found, ...(await faultsOf(world, [customerId]))].map((what) => `${customerId}: ${what}`),
    );
  }
  expect(wrong).toEqual([]);
});

test.each(Object.entries(REFUSALS))(
  '%s at every page is a dead letter that says why; then all goes on',
  async (state, words) => {
    const { world, addCustomer, syncToEnd } = await open();
    await addCustomer('alice');

    const outcome = await syncToEnd('alice', (statement) =>
      /^(?:insert_page|upsert_send)_/.test(statement) ? state : null,
    );

    const reason = `Postgres did not take what was to be written (Postgres: ${words}said the server (SQLSTATE ${state}))`;
    expect(outcome).toMatchObject({ kind: 'dead_lettered', reason });
    expect(await deadLettersOf(world, 'alice')).toMatchObject([{ cause: 'database', fault: 'ours' }]);
    await world.rows('UPDATE calico.customers SET next_sync_at = now()');
    expect(await syncToEnd('alice', () => null)).toMatchObject({ kind: 'done', status: 'succeeded' });
    expect(await world.rows('SELECT count(*)::int AS n FROM calico.transactions')).toEqual([{ n: 5 }]);
    expect(await deadLettersOf(world, 'alice')).toMatchObject([{ resolved_at: expect.any(Date) }]);
  },
);
