/** `sync`: what is asked for stands in Postgres, and what came of it is said with the next step. */
import { expect, it, onTestFinished } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';
import { commandWith, settingsFor } from './command.ts';
import { createInstallation, stop } from './installation.ts';

async function openOffice(customers: string) {
  const database = await createTestDatabase();
  onTestFinished(database.close);
  await database.pool.query(
    `INSERT INTO calico.customers (customer_id, status, status_reason, next_sync_at)
     SELECT id, status, reason, now() + interval '1 h' FROM (VALUES ${customers}) AS v (id, status, reason)`,
  );
  const requests = async () =>
    (
      await database.pool.query(
        `SELECT customer_id AS id, requested_mode AS mode, next_sync_at <= now() AS due
         FROM calico.customers WHERE requested_trigger = 'manual' ORDER BY 1`,
      )
    ).rows;
  return { run: commandWith(settingsFor(database.url, 'redis://127.0.0.1:1')), requests };
}

it('keeps the request where the queue is down, and leaves out who is stopped', async () => {
  const { run, requests } = await openOffice(
    `('acme', 'active', NULL), ('beta', 'paused', 'audit'), ('zeta', 'forbidden', 'no rights')`,
  );
  const { code, stdout, stderr } = await run('sync --all --full');
  expect(stdout).toBe('Asked for a full sync of 1 customer.\n');
  expect(stderr).toMatch(/^The queue at redis:\/\/127\.0\.0\.1:1 .*The request is in Postgres: .*\n/);
  expect(stderr).toContain(
    'Left out: 1 forbidden, 1 paused. Next: calico-sync customers list --status forbidden',
  );
  expect(code).toBe(0);
  expect(await requests()).toEqual([{ id: 'acme', mode: 'full', due: true }]);
});

it('says why a stopped customer is not synced, and what helps', async () => {
  const { run, requests } = await openOffice(
    `('beta', 'paused', 'audit'), ('zeta', 'forbidden', 'no rights')`,
  );
  const [paused, forbidden, all] = await Promise.all([
    run('sync beta'),
    run('sync zeta --wait'),
    run('sync --all'),
  ]);
  expect(paused).toMatchObject({
    code: 1,
    stderr: 'beta is paused (audit). Next: calico-sync customers resume beta\n',
  });
  expect(forbidden).toMatchObject({
    code: 1,
    stderr: 'zeta is forbidden (no rights). Next: calico-sync customers add zeta with new tokens\n',
  });
  expect(all).toMatchObject({ code: 1, stderr: expect.stringContaining('There is no active customer.') });
  expect(await requests()).toEqual([]);
});

describeOnBothQueues('sync --wait', (backend) => {
  it('shows the receipt; once the tokens are dead it fails with the reason and the next step', async () => {
    const installation = await createInstallation({ queue: backend });
    const tokens = await installation.add('acme');
    const worker = await installation.startWorker();
    const good = await installation.run('sync acme --wait');
    expect(good.stdout).toContain('assets: 1 page, 0 fetched = 0 inserted + 0 updated');
    expect(good.stdout).toContain('1 succeeded, 0 partial, 0 failed.');
    expect(good.code).toBe(0);

    installation.sandbox.tokens.revoke('acme');
    const bad = await installation.run('sync acme --wait');
    expect(bad.stdout).toMatch(/acme: dead_lettered: .+\n0 succeeded, 0 partial, 1 failed\.\n$/);
    expect(bad.stderr).toMatch(
      /1 sync did not succeed\. Next: calico-sync customers add acme with the new tokens/,
    );
    expect(bad.code).toBe(1);

    installation.sandbox.faults.add({ endpoint: 'assets', times: Infinity, answer: { status: 404 } });
    for (const id of ['beta', 'gamma']) await installation.add(id);
    expect((await installation.run('sync --all --wait')).stderr).toContain(
      '2 syncs did not succeed. Next: calico-sync dead-letters list says what to do about each cause\n',
    );

    const { code, stdout, stderr } = await stop(worker, 'SIGINT');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const written = JSON.stringify([good, bad, stdout]);
    for (const token of tokens) expect(written).not.toContain(token);
  });
});
