/** When a request is over, in every state that `sync --wait` may meet. Runs are written as the worker writes them. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { whyNobodyBegan } from '../../src/cli/progress.ts';
import { type Database, openDatabase } from '../../src/db/client.ts';
import { addCustomer, pauseCustomer, removeCustomer, requestSync } from '../../src/db/customers.ts';
import { readProgress, readResults } from '../../src/db/run-progress.ts';
import type { RunStatus } from '../../src/db/statuses.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let db: Database;
const asked = { customerIds: ['acme'], since: null };
const progress = () => db.run((orm) => readProgress(orm, asked));
const hasEnded = async () => (await progress()).ended === 1;
const result = async () => (await db.run((orm) => readResults(orm, asked)))[0];
const request = () => db.run((orm) => requestSync(orm, ['acme'], 'incremental', 'manual'));

/** A run begins: it takes up what was requested, in the same transaction. */
const BEGIN = [
  `INSERT INTO calico.sync_runs (customer_id, mode, trigger, epoch) VALUES ('acme', 'full', 'manual', 1)`,
  `UPDATE calico.customers SET requested_trigger = NULL, requested_mode = NULL WHERE customer_id = 'acme'`,
];
const begin = () => database.pool.query(`BEGIN; ${BEGIN.join('; ')}; COMMIT`);
/** The run that is open becomes this. */
const becomes = (status: RunStatus) =>
  database.pool.query(`UPDATE calico.sync_runs SET status = $1 WHERE status IN ('running', 'waiting')`, [
    status,
  ]);

beforeAll(async () => {
  database = await createTestDatabase();
  db = openDatabase({ url: database.url, maxConnections: 2 });
});
afterAll(async () => {
  await db?.close();
  await database?.close();
});
beforeEach(async () => {
  await database.pool.query('DELETE FROM calico.customers; DELETE FROM calico.sync_runs');
  await db.run((orm) => addCustomer(orm, 'acme', null));
});

describe('a request', () => {
  it('is over when the run that took it up has ended', async () => {
    await request();
    expect(await progress()).toMatchObject({ customers: 1, begun: 0, ended: 0 });
    await begin();
    expect(await progress()).toMatchObject({ customers: 1, begun: 1, ended: 0 });
    await becomes('succeeded');
    expect(await progress()).toMatchObject({ customers: 1, begun: 1, ended: 1 });
    expect(await result()).toMatchObject({ customerId: 'acme', status: 'succeeded', reason: null });
  });

  it.each(['running', 'waiting'] as const)(
    'is not over with a run that was %s when it came',
    async (state) => {
      await begin();
      await becomes(state);
      await request();
      await becomes('succeeded');
      expect(await hasEnded()).toBe(false);
      await begin();
      expect(await hasEnded()).toBe(false);
      await becomes('partial');
      expect(await hasEnded()).toBe(true);
      expect(await result()).toMatchObject({ status: 'partial' });
    },
  );

  it('is taken up by a run whose transaction began before the request did', async () => {
    const client = await database.pool.connect();
    try {
      await client.query('BEGIN');
      await request();
      for (const statement of BEGIN) await client.query(statement);
      await client.query('COMMIT');
    } finally {
      client.release();
    }
    await becomes('succeeded');
    expect(await hasEnded()).toBe(true);
  });

  it.each(['fenced', 'abandoned'] as const)(
    'is not over with a run that is %s: another follows',
    async (state) => {
      await request();
      await begin();
      await becomes(state);
      expect(await hasEnded()).toBe(false);
      await begin();
      await becomes('succeeded');
      expect(await hasEnded()).toBe(true);
    },
  );

  it.each(['running', 'waiting', 'fenced'] as const)(
    'is over when the customer is paused while its run is %s',
    async (state) => {
      await request();
      await begin();
      await becomes(state);
      await db.run((orm) => pauseCustomer(orm, 'acme', 'audit'));
      expect(await hasEnded()).toBe(true);
      expect(await result()).toMatchObject({ status: null, reason: 'audit' });
    },
  );

  it('is over when the customer is removed', async () => {
    await request();
    await begin();
    await db.transaction(({ orm }) => removeCustomer(orm, 'acme', false));
    expect(await hasEnded()).toBe(true);
    expect(await result()).toMatchObject({ status: null, reason: 'the customer was removed' });
  });
});

it('everybody means those that are active', async () => {
  await db.run((orm) => addCustomer(orm, 'zeta', null));
  await db.run((orm) => pauseCustomer(orm, 'zeta', 'audit'));
  const everybody = { customerIds: null, since: new Date(0) };
  expect(await db.run((orm) => readProgress(orm, everybody))).toMatchObject({ customers: 1, ended: 0 });
  await begin();
  await becomes('succeeded');
  expect(await db.run((orm) => readProgress(orm, everybody))).toMatchObject({ customers: 1, ended: 1 });
});

it('nobody has begun: either no worker runs, or all wait for Calico', async () => {
  expect(await db.run(whyNobodyBegan)).toContain('Next, where none runs: calico-sync worker');
  await database.pool.query(`INSERT INTO calico.fleet_pause (situation, reason, since, until)
    VALUES ('429', 'too many', now() - interval '61 s', now() + interval '1 h')`);
  expect(await db.run(whyNobodyBegan)).toBe('  All workers wait for Calico, since 1 min ago: too many');
});
