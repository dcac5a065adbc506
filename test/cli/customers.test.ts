/** `customers …`: each test is one customer's story, told with the real command. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { commandWith, settingsFor } from './command.ts';

const NOBODY = {
  code: 1,
  stdout: '',
  stderr: 'There is no customer nobody. calico-sync customers list shows all.\n',
};

/** The queue is not there: none of these commands may need it. */
async function openOffice() {
  const database = await createTestDatabase();
  onTestFinished(database.close);
  const run = commandWith(settingsFor(database.url, 'redis://127.0.0.1:1'));
  const sql = async (text: string) => (await database.pool.query(text)).rows;
  return { run, sql };
}

const tokens = (name: string) =>
  JSON.stringify({ access_token: `access-${name}`, refresh_token: `refresh-${name}`, expires_in: 900 });

describe('customers add', () => {
  it('adds one with its tokens from stdin, due at once, sealed, at its own pace', async () => {
    const { run, sql } = await openOffice();
    const added = await run('customers add acme --every 15m', tokens('first'));
    expect(added).toMatchObject({ code: 0, stdout: expect.stringContaining('Added acme'), stderr: '' });
    expect(
      await sql(`SELECT status, sync_interval::text AS every, next_sync_at <= now() AS due, key_id,
        to_jsonb(k)::text LIKE '%first%' AS readable,
        round(extract(epoch FROM access_expires_at - k.updated_at) / 100) * 100 AS "endsIn"
      FROM calico.customers JOIN calico.credentials k USING (customer_id)`),
    ).toEqual([
      { status: 'active', every: '00:15:00', due: true, key_id: 'test', readable: false, endsIn: '900' },
    ]);
  });

  it('replaces the credentials of one that is known, and resumes it where it needed them', async () => {
    const { run, sql } = await openOffice();
    await run('customers add acme', tokens('first'));
    const sealed = () => sql('SELECT access_token_ciphertext FROM calico.credentials');
    const before = await sealed();
    expect((await run('customers add acme', tokens('second'))).stdout).toBe(
      'acme has new credentials; its schedule stays as it is.\n',
    );
    expect(await sealed()).not.toEqual(before);

    await sql(
      `UPDATE calico.customers SET status = 'reauth_required', next_sync_at = now() + interval '1 h'`,
    );
    expect((await run('customers add acme', tokens('third'))).stdout).toBe(
      'acme has new credentials and is resumed; it was reauth_required.\n',
    );
    expect(await sql('SELECT status, next_sync_at <= now() AS due FROM calico.customers')).toEqual([
      { status: 'active', due: true },
    ]);
    expect(await sql("SELECT event_type, data ->> 'was' AS was FROM calico.event_outbox"), 'once').toEqual([
      { event_type: 'customer.resumed', was: 'reauth_required' },
    ]);
  });

  it('leaves one paused that an operator paused', async () => {
    const { run, sql } = await openOffice();
    await run('customers add acme', tokens('first'));
    await sql(`UPDATE calico.customers SET status = 'paused'`);
    const { code, stdout } = await run('customers add acme', tokens('second'));
    expect(stdout).toContain('stays paused. Next: calico-sync customers resume acme');
    expect(code).toBe(0);
    expect(await sql('SELECT status FROM calico.customers')).toEqual([{ status: 'paused' }]);
  });

  it('refuses what holds no tokens without quoting it, and adds nobody', async () => {
    const { run, sql } = await openOffice();
    const half = '{"access_token": "secret-token", "refresh_token": "", "expires_in": "secret-token"}';
    const refused = [
      { stdin: '', problem: 'nothing came on stdin' },
      { stdin: 'secret-token', problem: 'is not JSON' },
      { stdin: half, problem: 'refresh_token is not valid, expires_in is not valid.' },
      {
        stdin: '{"access_token": "secret-token"}',
        problem: 'refresh_token is missing, expires_in is missing.',
      },
      { stdin: '["secret-token"]', problem: 'no JSON object' },
    ].map(async ({ stdin, problem }) => {
      const { code, stdout, stderr } = await run('customers add acme', stdin);
      expect(stderr).toContain(problem);
      expect(stderr).toContain('Expected on stdin: {"access_token"');
      expect(stderr).not.toContain('secret-token');
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    });
    await Promise.all(refused);
    expect(await sql('SELECT FROM calico.customers')).toEqual([]);
  });
});

describe('customers', () => {
  it('list and show tell everything but the tokens', async () => {
    const { run, sql } = await openOffice();
    await run('customers add acme --every 90s', tokens('first'));
    await sql(`INSERT INTO calico.customers (customer_id, status, status_reason) VALUES
      ('zeta', 'reauth_required', E'refused\\nby \\x1b[31mCalico')`);
    const [table, json, some, shown, shownJson] = await Promise.all([
      run('customers list'),
      run('customers list --json'),
      run('customers list --json --status reauth_required'),
      run('customers show acme'),
      run('customers show acme --json'),
    ]);
    expect(table.stdout).toMatch(/^customer +status +last success +next sync\nacme +active +never +due\n/);
    // A reason comes from outside: it keeps to its line and steers no terminal.
    expect(table.stdout).toContain('\n  refused by \\u001b[31mCalico\n');
    expect(JSON.parse(json.stdout)).toMatchObject([
      { customer_id: 'acme', status: 'active', sync_interval: '00:01:30', last_success_at: null },
      { customer_id: 'zeta', status: 'reauth_required' },
    ]);
    expect(JSON.parse(some.stdout)).toMatchObject([{ customer_id: 'zeta' }]);
    expect(shown.stdout).toMatch(/every +1 min 30 s\n/);
    expect(shown.stdout).toMatch(/credentials +key test; access token ends in 1\d min/);
    const details = JSON.parse(shownJson.stdout);
    expect(details).toMatchObject({ customer_id: 'acme', checkpoints: [], last_run: null });
    expect(Object.keys(details.credentials)).toEqual(['key_id', 'access_expires_at', 'refresh_expires_at']);
    expect(shown.stdout + shownJson.stdout).not.toContain('first');
  });

  it('pause and resume, and say why where they cannot', async () => {
    const { run, sql } = await openOffice();
    await sql(
      `INSERT INTO calico.customers (customer_id, status) VALUES ('acme', 'active'), ('zeta', 'forbidden')`,
    );
    const statuses = () =>
      sql('SELECT status, status_reason AS reason FROM calico.customers ORDER BY customer_id');
    expect(await run('customers pause acme --reason audit')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('calico-sync customers resume acme'),
    });
    expect((await statuses())[0]).toEqual({ status: 'paused', reason: 'audit' });
    expect(await run('customers pause acme')).toMatchObject({
      code: 1,
      stderr: 'acme is paused already (audit).\n',
    });
    expect(await run('customers resume acme')).toMatchObject({ code: 0, stderr: '' });
    expect((await statuses())[0]).toEqual({ status: 'active', reason: null });
    expect(await sql('SELECT event_type FROM calico.event_outbox')).toEqual([
      { event_type: 'customer.resumed' },
    ]);
    expect(await run('customers resume zeta')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Next: calico-sync customers add zeta'),
    });
  });

  it('remove keeps the rows, and --purge removes them, then or later', async () => {
    const { run, sql } = await openOffice();
    await run('customers add acme', tokens('first'));
    await sql(`INSERT INTO calico.sync_runs (customer_id, mode, trigger, status, epoch)
      VALUES ('acme', 'full', 'manual', 'succeeded', 1)`);
    const counts = () =>
      sql(`SELECT (SELECT count(*)::int FROM calico.customers) AS customers,
        (SELECT count(*)::int FROM calico.credentials) AS credentials,
        (SELECT count(*)::int FROM calico.sync_runs) AS runs`);
    expect(await run('customers remove acme')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('its rows stay'),
    });
    expect(await counts()).toEqual([{ customers: 0, credentials: 0, runs: 1 }]);
    expect(JSON.parse((await run('runs acme --json')).stdout)).toHaveLength(1);
    expect(await run('customers remove acme --purge')).toMatchObject({ code: 0 });
    expect(await counts()).toEqual([{ customers: 0, credentials: 0, runs: 0 }]);
  });

  it('that nobody added are no customers', async () => {
    const { run } = await openOffice();
    const commands = [
      'customers show nobody',
      'customers pause nobody',
      'customers remove nobody',
      'customers remove nobody --purge',
      'runs nobody',
      'sync nobody',
    ];
    for (const command of commands)
      expect({ command, ...(await run(command)) }).toEqual({ command, ...NOBODY });
  });
});
