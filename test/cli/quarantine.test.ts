/** `quarantine`: listed, shown whole, replayed. */
import { expect, it, onTestFinished } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { sends, transaction } from '../support/records.ts';
import { commandWith } from './command.ts';

const [good = {}] = sends(1);
const ODD = '{"transaction_id":"t1",\n "note":"\\u001b\u009b"}';

const PROBLEMS = JSON.stringify([{ path: 'fees.items.1.amount', message: 'is not a decimal number' }]);

it('lists, shows and replays records; says what is refused still and who is being synced', async () => {
  const database = await createTestDatabase();
  onTestFinished(database.close);
  const run = commandWith({ DATABASE_URL: database.url });
  const keep = (customer: string, key: string, text: string, resolution: string | null = null) =>
    database.pool.query(
      `INSERT INTO calico.quarantined_records
         (customer_id, stream, record_key, raw_text, problems, run_id, times_seen, resolution, resolved_at)
       VALUES ($1, 'transactions', $2, $3, $4, gen_random_uuid(), 3, $5, CASE WHEN $5::text IS NOT NULL THEN now() END)`,
      [customer, key, text, PROBLEMS, resolution],
    );
  await database.pool.query(
    `INSERT INTO calico.customers (customer_id, lease_until)
     VALUES ('alice', NULL), ('bob', now() + interval '1 h'), ('carol', NULL)`,
  );
  await keep('alice', '["coinbase","t000"]', JSON.stringify(good));
  await keep('alice', '["coinbase","t1"]', ODD);
  await keep('bob', '["coinbase","t000"]', JSON.stringify(good));
  await keep('carol', 'text 1', JSON.stringify(transaction('send', 't9')), 'gone');

  const table = (await run('quarantine list --limit 2')).stdout;
  expect(table).toMatch(/^id +customer +stream +state +seen +last seen\n/);
  expect(table).toContain(': fees.items.1.amount: is not a decimal number\n');
  expect((await run('quarantine list --limit 2')).stderr).toMatch(
    /^1 more record: --limit 3\nNext: calico-sync quarantine show <id>; .*\n$/,
  );
  expect((await run('quarantine list --customer carol')).stdout).toBe(
    'There are no unresolved quarantined records of carol.\n',
  );
  expect((await run('quarantine list --customer carol --all')).stdout).toMatch(/ transactions +gone +3 /);
  const listed = JSON.parse((await run('quarantine list --json')).stdout);
  expect(listed).toHaveLength(3);
  expect(listed[0]).not.toHaveProperty('raw_text');

  const odd = listed.find(({ record_key }: { record_key: string }) => record_key.includes('t1'));
  const shown = (await run(`quarantine show ${odd.id}`)).stdout;
  expect(shown).toContain('\nproblem     fees.items.1.amount: is not a decimal number\n');
  expect(shown.endsWith('text\n{"transaction_id":"t1",\n "note":"\\u001b\\u009b"}\n')).toBe(true);
  expect(JSON.parse((await run(`quarantine show ${odd.id} --json`)).stdout)).toMatchObject({ raw_text: ODD });

  const replayed = await run('quarantine replay --all');
  expect(replayed).toMatchObject({ code: 0, stdout: '1 landed, 1 still refused; 1 customer left.\n' });
  expect(replayed.stderr).toContain(`${odd.id} of alice is still refused: provider_id: Invalid input`);
  expect(replayed.stderr).toContain('bob is being synced: its records are left.');
  expect((await run('quarantine list --customer alice --all')).stdout).toMatch(/ replayed +3 /);

  for (const [args, stderr] of [
    [`replay ${odd.id}`, 'Nothing landed: 0 landed, 1 still refused.\n'],
    ['replay --customer carol', 'calico-sync quarantine list --all shows what there was.\n'],
    [
      `show ${odd.run_id}`,
      `There is no quarantined record ${odd.run_id}. calico-sync quarantine list shows all.\n`,
    ],
  ] as const) {
    expect(await run(`quarantine ${args}`)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining(stderr),
    });
  }
  for (const args of ['replay', 'replay --all --customer alice', 'show x', 'list --limit 0']) {
    expect(await run(`quarantine ${args}`)).toMatchObject({ code: 2, stdout: '' });
  }
});
