/** `runs`: the latest first, of one customer or of all. */
import { expect, it, onTestFinished } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { commandWith } from './command.ts';

it('lists the latest runs, at most as many as asked for, each with its reason', async () => {
  const database = await createTestDatabase();
  onTestFinished(database.close);
  const run = commandWith({ DATABASE_URL: database.url });
  await database.pool.query(`
    INSERT INTO calico.customers (customer_id) VALUES ('alice'), ('bob');
    INSERT INTO calico.sync_runs (customer_id, mode, trigger, status, epoch, started_at, finished_at, reason)
    SELECT id, 'full', 'schedule', status, 1, now() - age, now() - age + interval '75 s', reason FROM (VALUES
      ('alice', 'succeeded', interval '3 h', NULL),
      ('alice', 'failed', interval '2 h', E'the receipt\\ndoes not hold'),
      ('bob', 'partial', interval '1 h', 'coinbase is down')) AS v (id, status, age, reason)`);
  const [table, json, one] = await Promise.all([
    run('runs alice'),
    run('runs --json'),
    run('runs alice --limit 1 --json'),
  ]);
  const lines = table.stdout.split('\n').map((line) => line.replaceAll(/ +/g, ' '));
  expect(lines).toEqual([
    'customer mode status started took pages fetched new changed quarantined removed held',
    'alice full failed 2 h ago 1 min 15 s 0 0 0 0 0 0 0',
    ' the receipt does not hold',
    'alice full succeeded 3 h ago 1 min 15 s 0 0 0 0 0 0 0',
    '',
  ]);
  expect(JSON.parse(json.stdout)).toMatchObject([
    { customer_id: 'bob', status: 'partial', reason: 'coinbase is down', epoch: '1', streams: [] },
    { customer_id: 'alice', status: 'failed' },
    { customer_id: 'alice', status: 'succeeded', reason: null },
  ]);
  expect(JSON.parse(one.stdout)).toMatchObject([{ customer_id: 'alice', status: 'failed' }]);
});
