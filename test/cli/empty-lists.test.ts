import { expect, it, onTestFinished } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { commandWith } from './command.ts';

it('a listing of nothing says what there is none of, and as JSON it is an empty list', async () => {
  const database = await createTestDatabase();
  onTestFinished(database.close);
  const run = commandWith({ DATABASE_URL: database.url });
  const says = (stdout: string) => ({ code: 0, stdout, stderr: '' });
  const [customers, customersJson, paused, runs, runsJson] = await Promise.all([
    run('customers list'),
    run('customers list --json'),
    run('customers list --status paused'),
    run('runs'),
    run('runs --json'),
  ]);
  expect(customers).toEqual(says('There are no customers yet. Next: calico-sync customers add <id>\n'));
  expect(paused).toEqual(says('No customer is paused.\n'));
  expect(runs).toEqual(says('There are no runs yet.\n'));
  expect([customersJson, runsJson]).toEqual([says('[]\n'), says('[]\n')]);
});
