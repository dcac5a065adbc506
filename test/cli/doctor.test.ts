/** `doctor`: each thing that a sync needs, well or not, with the next step. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { findFreePort } from '../../src/sandbox/embedded-postgres.ts';
import { createTestDatabase } from '../support/database.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';
import { commandWith, type Finished, type Settings } from './command.ts';
import { createInstallation } from './installation.ts';

type Check = { name: string; state: string; says: string; next: string | null };

const checksOf = ({ stdout }: Finished): Check[] => JSON.parse(stdout).checks;
const namesOf = (checks: readonly Check[], state: string) =>
  checks.filter((check) => check.state === state).map(({ name }) => name);

describeOnBothQueues('an installation that is well', (queue) => {
  it('has nothing but ok', async () => {
    const at = await createInstallation({ queue });
    await at.add('alice');
    const found = await at.run('doctor --json');
    expect(found).toMatchObject({ code: 0, stderr: '' });
    const checks = checksOf(found);
    expect(checks.map(({ name, state, next }) => [name, state, next])).toEqual(
      [
        ...['settings', 'Postgres', 'clock of Postgres', 'migrations', 'key test', 'customers', 'schedule'],
        ...[
          'pause',
          'dead letters',
          'quarantine',
          'held removals',
          'contract',
          'queue',
          'Calico’s API',
          'token endpoint',
          'clock of Calico',
        ],
      ].map((name) => [name, 'ok', null]),
    );
    const says = Object.fromEntries(checks.map(({ name, says }) => [name, says]));
    expect(says).toMatchObject({
      'key test': 'opens the tokens of 1 customer',
      customers: '1 active',
      queue: expect.stringMatching(
        queue.kind === 'redis' ? /^Redis \d+\.\d+\S*; 0 waiting/ : /^Postgres; 0 waiting/,
      ),
      'Calico’s API': 'answers (401 without a token)',
    });
    expect(JSON.parse(found.stdout).drift).toEqual([]);
  });
});

it('finds what is stopped, overdue, set aside, closed or unknown, and shows each difference from the contract', async () => {
  const at = await createInstallation();
  expect(checksOf(await at.run('doctor --json')).find(({ name }) => name === 'customers')).toEqual({
    name: 'customers',
    state: 'warning',
    says: 'none yet',
    next: 'calico-sync customers add <id>',
  });
  for (const id of ['alice', 'bob', 'carol']) await at.add(id);
  await at.rows(`
    UPDATE calico.customers SET next_sync_at = now() - interval '2 h 1 s' WHERE customer_id = 'alice';
    UPDATE calico.customers SET next_sync_at = now() - interval '1 d', not_before = now() + interval '1 h'
      WHERE customer_id = 'carol';
    UPDATE calico.customers SET status = 'forbidden' WHERE customer_id = 'bob';
    UPDATE calico.credentials SET key_id = 'old' WHERE customer_id = 'bob';
    UPDATE calico.credentials SET access_token_ciphertext = refresh_token_ciphertext WHERE customer_id = 'carol';
    INSERT INTO calico.dead_letters (customer_id, run_id, verdict, reason, fault, evidence, discarded_at) SELECT
      'bob', gen_random_uuid(), 'dead_letter', 'why', 'customer', '{}', discarded FROM (VALUES (NULL), (now())) v (discarded);
    INSERT INTO calico.quarantined_records (customer_id, stream, record_key, raw_text, problems, run_id)
      VALUES ('alice', 'assets', 'k', '{}', '[]', gen_random_uuid());
    INSERT INTO calico.held_removals (customer_id, stream, run_id, held_rows, live_rows, reason, rejected_at)
      SELECT 'alice', stream, gen_random_uuid(), 30, 40, 'why', rejected
      FROM (VALUES ('assets', NULL), ('transactions', NULL), ('assets', now())) v (stream, rejected);
    INSERT INTO calico.contract_drift (endpoint, path, kind, detail, sample, count, first_run_id) VALUES
      ('assets', 'data.assets[].apy', 'unknown_field', '', '"3"', 1200, gen_random_uuid()),
      ('assets', 'data.assets[].quantity', 'type_changed', 'string or number expected, array seen', '[1]', 1, gen_random_uuid())`);

  const found = await at.run('doctor');
  const lines = found.stdout.split('\n').map((line) => line.trim().replaceAll(/ +/g, ' '));
  const after = (start: string) => lines.slice(lines.findIndex((line) => line.startsWith(start))).slice(0, 2);
  expect(found.code).toBe(1);
  expect(found.stderr).toBe(
    '3 checks failed: key old, key test, schedule. Next: add the key to CREDENTIALS_KEYS\n',
  );
  expect(after('failure key old')).toEqual([
    'failure key old tokens of 1 customer, and CREDENTIALS_KEYS does not have it',
    'Next: add the key to CREDENTIALS_KEYS',
  ]);
  expect(after('failure key test')[0]).toContain('does not open 1 of the tokens of 2 customers');
  expect(after('failure schedule')).toEqual([
    'failure schedule 1 customer overdue, the first was due 2 h ago, and no worker is at anyone',
    'Next: start calico-sync worker',
  ]);
  expect(after('warning customers')).toEqual([
    'warning customers 2 active, 1 forbidden',
    'Next: calico-sync customers list --status forbidden',
  ]);
  expect(after('warning dead letters')).toEqual([
    'warning dead letters 1 open',
    'Next: calico-sync dead-letters list',
  ]);
  expect(after('warning quarantine')).toEqual([
    'warning quarantine 1 record',
    'Next: calico-sync quarantine list',
  ]);
  expect(after('warning held removals')).toEqual([
    'warning held removals 2 holds to decide on',
    'Next: calico-sync removals list',
  ]);
  expect(after('warning contract')[0]).toBe(
    'warning contract 2 differences found so far, 1 of which can refuse records',
  );
  const sinceNow = (line: string) => line.replaceAll(/\b\d+ s ago\b/g, 'now');
  expect(lines.slice(-6).map(sinceNow)).toEqual([
    'endpoint differs where times first seen last seen',
    'assets unknown field data.assets[].apy 1,200 now now',
    '"3"',
    'assets type changed data.assets[].quantity 1 now now',
    'string or number expected, array seen, such as [1]',
    '',
  ]);
  await at.rows(
    `UPDATE calico.customers SET lease_until = now() + interval '1 min' WHERE customer_id = 'carol'`,
  );
  expect(namesOf(checksOf(await at.run('doctor --json')), 'warning')).toContain('schedule');

  await at.rows(`INSERT INTO calico.fleet_pause (situation, reason, since, until)
    VALUES ('429', 'too many', now() - interval '61 min', now() + interval '150 s')`);
  const inPause = checksOf(await at.run('doctor --json'));
  expect(inPause.find(({ name }) => name === 'pause')).toEqual({
    name: 'pause',
    state: 'warning',
    says: 'all workers wait for Calico since 1 h ago: too many; one customer asks again in 2 min',
    next: 'nothing; it ends by itself once Calico answers',
  });
  expect(inPause.find(({ name }) => name === 'schedule')?.state).toBe('ok');
  await at.rows(
    `UPDATE calico.fleet_pause SET opened_at = now() - interval '6 min', until = now() - interval '7 min'`,
  );
  const over = checksOf(await at.run('doctor --json'));
  expect(over.find(({ name }) => name === 'pause')?.state).toBe('ok');
  expect(over.find(({ name }) => name === 'schedule')?.state).toBe('warning');
});

it('goes on where one thing is wrong: settings, servers that are not there, a Calico elsewhere, clocks apart', async () => {
  const port = await findFreePort();
  const elsewhere = createServer((_request, response) => {
    response.writeHead(302, { location: '/', date: new Date(Date.now() - 3_600_000).toUTCString() }).end();
  });
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void elsewhere.close());
  const settings: Settings = {
    DATABASE_URL: `postgres://user:hunter2@127.0.0.1:${port}/none`,
    QUEUE_URL: `postgres://user:hunter2@127.0.0.1:${port}/queue`,
    CALICO_API_URL: `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`,
    CALICO_AUTH_URL: `http://127.0.0.1:${port}/oauth/token`,
    CALICO_CLIENT_ID: 'id',
    CALICO_CLIENT_SECRET: 'hunter2',
    CREDENTIALS_KEYS: 'no key',
    WORKER_CONCURRENCY: 'many',
    EVENTS_WEBHOOK_URL: 'https://example.com/hook',
  };
  const found = await commandWith(settings)('doctor --json');
  expect(found.code).toBe(1);
  expect(`${found.stdout}${found.stderr}`).not.toContain('hunter2');
  const checks = checksOf(found);
  expect(namesOf(checks, 'failure')).toEqual([
    'settings',
    'Postgres',
    'queue',
    'Calico’s API',
    'token endpoint',
  ]);
  expect(checks[0]?.says).toMatch(
    /^CREDENTIALS_KEYS must be .*; WORKER_CONCURRENCY must be a whole number .*; EVENTS_WEBHOOK_SECRET is missing/,
  );
  expect(checks.find(({ name }) => name === 'clock of Calico')).toMatchObject({
    state: 'warning',
    says: expect.stringMatching(/^(59 min \d+ s|1 h) behind ours$/),
  });
  expect(checks.find(({ name }) => name === 'Calico’s API')?.says).toBe(
    'answers 302: this is not where it is',
  );
});

it('says that migrations are missing, and asks no table that is not there', async () => {
  const database = await createTestDatabase();
  onTestFinished(database.close);
  await database.pool.query('DELETE FROM calico.schema_migrations; DROP TABLE calico.contract_drift');
  const checks = checksOf(await commandWith({ DATABASE_URL: database.url })('doctor --json'));
  expect(checks.filter(({ name }) => name !== 'settings').map(({ name }) => name)).toEqual([
    'Postgres',
    'clock of Postgres',
    'migrations',
  ]);
  expect(checks.at(-1)).toMatchObject({ state: 'failure', next: 'calico-sync migrate' });
});
