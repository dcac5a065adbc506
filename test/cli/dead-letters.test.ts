/** `dead-letters`: by cause, one by one, replayed and discarded. */
import { expect, it, onTestFinished } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { commandWith } from './command.ts';

const REAUTH = '603 authentication failed';

/** 7 customers who need new tokens, 2 stopped ones, an active one, a paused one, a removed one, and a job that names nobody. */
const ROWS = `
  INSERT INTO calico.customers (customer_id, status, status_reason, next_sync_at)
  SELECT 'r' || n, 'reauth_required', 'refused', now() + interval '1 h' FROM generate_series(1, 7) n
  UNION ALL SELECT id, status, 'refused', now() + interval '1 h' FROM (VALUES
    ('gone', 'not_found'), ('barred', 'forbidden'), ('slow', 'active'), ('quiet', 'paused')) AS v (id, status);
  INSERT INTO calico.sync_runs (run_id, customer_id, mode, trigger, status, epoch)
  VALUES ('00000000-0000-4000-8000-000000000001', 'slow', 'full', 'manual', 'dead_lettered', 1);
  INSERT INTO calico.dead_letters (customer_id, run_id, http_status, code, verdict, cause, reason, fault, evidence, created_at)
  SELECT 'r' || n, gen_random_uuid(), 603, 603, 'dead_letter', '${REAUTH}', 'refused', 'customer',
    '{"nextStep": "calico-sync customers add <id> with the new tokens"}', now() - n * interval '1 min' FROM generate_series(1, 7) n;
  INSERT INTO calico.dead_letters (customer_id, run_id, verdict, cause, reason, fault, evidence)
  SELECT id, '00000000-0000-4000-8000-000000000001', 'dead_letter', 'mixed', E'it\\nfailed', 'calico',
    '{"kind": "refused", "body": "<html>\\u001b[31m", "nextStep": "calico-sync sync <id>"}'
  FROM unnest(ARRAY['gone', 'barred', 'slow', 'slow', 'quiet', 'removed', '']) id;`;

async function installed() {
  const database = await createTestDatabase();
  onTestFinished(database.close);
  await database.pool.query(ROWS);
  const rows = async (text: string) => (await database.pool.query(text)).rows;
  return { run: commandWith({ DATABASE_URL: database.url }), rows };
}

it('lists causes with customers and what to do, lists one cause’s letters, and shows one whole', async () => {
  const { run } = await installed();

  const { stdout } = await run('dead-letters list');
  expect(stdout.split('\n').map((line) => line.replace(/[\d-]+[\da-f-]{30,}/, 'ID'))).toEqual([
    '7 of 14: 603 authentication failed (fault: customer)',
    '  customers: r1, r2, r3, r4, r5 and 2 more',
    expect.stringMatching(/^ {2}latest: 1 min ago, calico-sync dead-letters show /),
    '  to do: calico-sync customers add <id> with the new tokens',
    '7 of 14: mixed (fault: calico)',
    '  customers: none named, barred, gone, quiet, removed and 1 more',
    expect.stringMatching(/^ {2}latest: /),
    '  to do: calico-sync sync <id>',
    '  then: calico-sync dead-letters replay --cause mixed',
    '',
  ]);
  const causes = JSON.parse((await run('dead-letters list --json')).stdout);
  expect(causes).toMatchObject([
    { cause: REAUTH, letters: 7, open: 7, replayable: 0, customers: 7 },
    { cause: 'mixed', open: 7, replayable: 4 },
  ]);

  const letters = JSON.parse((await run('dead-letters list --cause mixed --json')).stdout);
  expect(letters).toHaveLength(7);
  const table = (await run('dead-letters list --cause mixed')).stdout;
  expect(table.match(/ open /g)).toHaveLength(7);
  expect(table).toContain('  it failed\n');

  const [{ id }] = letters.filter((letter: { customer_id: string }) => letter.customer_id === 'barred');
  const shown = (await run(`dead-letters show ${id}`)).stdout;
  expect(shown).toMatch(/^customer +barred\ncause +mixed\nstate +open\nreason +it failed\n/);
  expect(shown).toMatch(
    /\nbody +<html>\\u001b\[31m\nkind +refused\nto do +calico-sync sync barred\nthen +calico-sync dead-letters replay [-\da-f]{36}\n$/,
  );
  expect(JSON.parse((await run(`dead-letters show ${id} --json`)).stdout)).toMatchObject({
    id,
    state: 'open',
    evidence: { body: '<html>\u001b[31m' },
  });
});

it('replays whom it can, active again where they were stopped, and says whom it cannot', async () => {
  const { run, rows } = await installed();
  const planned = await run('dead-letters replay --cause mixed --dry-run');
  expect(planned).toMatchObject({
    code: 0,
    stdout:
      'Would replay 4 dead letters of the cause "mixed": 3 customers due now; 2 of them were stopped and would be active again.\n',
  });
  const [barred] = await rows(
    "SELECT id FROM calico.dead_letters WHERE customer_id = 'barred' AND cause = 'mixed'",
  );
  expect((await run(`dead-letters replay ${barred.id} --dry-run`)).stdout).toContain(
    '; 1 of them was stopped and would be active again.\n',
  );
  const due = 'SELECT customer_id FROM calico.customers WHERE next_sync_at <= now() ORDER BY 1';
  expect(await rows(due), 'a dry run changes nothing').toEqual([]);

  const { stderr, code } = await run('dead-letters replay --cause mixed');
  expect(code).toBe(0);
  expect(
    stderr
      .replaceAll(/[\da-f-]{36}/g, 'ID')
      .split('\n')
      .toSorted(),
  ).toEqual([
    '',
    'Left as they are, no customer: it names nobody. Next: calico-sync dead-letters discard ID',
    'Left as they are, quiet: paused. Next: calico-sync customers resume quiet',
    'Left as they are, removed: the customer was removed. Next: calico-sync dead-letters discard ID, or customers add removed',
  ]);
  expect(await rows(due)).toEqual([
    { customer_id: 'barred' },
    { customer_id: 'gone' },
    { customer_id: 'slow' },
  ]);
  expect(
    await rows(
      "SELECT customer_id, status, requested_mode FROM calico.customers WHERE customer_id IN ('slow', 'gone', 'quiet') ORDER BY 1",
    ),
  ).toEqual([
    { customer_id: 'gone', status: 'active', requested_mode: 'full' },
    { customer_id: 'quiet', status: 'paused', requested_mode: null },
    { customer_id: 'slow', status: 'active', requested_mode: 'full' },
  ]);
  const [left] = await rows(
    "SELECT count(*)::int AS open FROM calico.dead_letters WHERE replayed_at IS NULL AND cause = 'mixed'",
  );
  expect(left).toEqual({ open: 3 });

  const [letter] = await rows(`SELECT id FROM calico.dead_letters WHERE customer_id = 'r3'`);
  expect(await run(`dead-letters replay ${letter.id}`)).toEqual({
    code: 1,
    stdout: '',
    stderr:
      'Left as they are, r3: Calico refused their credentials. Next: calico-sync customers add r3 with new tokens\nNone of 1 dead letter can be replayed.\n',
  });
});

it('discards, refuses what is not there, and calls wrong usage wrong', async () => {
  const { run, rows } = await installed();
  expect(await run('dead-letters discard --cause mixed --dry-run')).toMatchObject({
    stdout: 'Would discard 7 dead letters of the cause "mixed".\n',
  });
  expect(await run('dead-letters discard --cause mixed')).toMatchObject({
    code: 0,
    stdout: 'Discarded 7 dead letters of the cause "mixed".\n',
  });
  expect((await run('dead-letters list')).stdout).not.toContain('mixed');
  expect((await run('dead-letters list --all')).stdout).toContain('7 of 14: mixed (fault: calico; 0 open)');
  expect(await rows('SELECT DISTINCT cause FROM calico.dead_letters WHERE discarded_at IS NULL')).toEqual([
    { cause: REAUTH },
  ]);
  const none = '00000000-0000-4000-8000-00000000dead';
  for (const command of ['discard --cause mixed', `discard ${none}`, `replay ${none}`, `show ${none}`]) {
    expect(await run(`dead-letters ${command}`)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('There is no '),
    });
  }
  for (const command of ['replay', 'discard', 'show', 'show 7', `replay ${none} --cause x`]) {
    expect(await run(`dead-letters ${command}`)).toMatchObject({ code: 2, stdout: '' });
  }
});
