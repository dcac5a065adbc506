/** `removals`: what is held, and what a person decides about it. */
import { expect, it } from 'vitest';
import { position, sends } from '../support/records.ts';
import { createWorld } from '../support/world.ts';
import { commandWith } from './command.ts';

const UNKNOWN = '00000000-0000-4000-8000-000000000000';

it('lists what is held, approves and rejects it, and says what was done', async () => {
  const world = await createWorld();
  const run = commandWith({ DATABASE_URL: world.database.url });
  expect(await run('removals list')).toEqual({ code: 0, stdout: 'No removals are held.\n', stderr: '' });
  expect(await run('removals list --json')).toEqual({ code: 0, stdout: '[]\n', stderr: '' });

  const symbols = Array.from({ length: 25 }, (_none, index) => `A${index}`);
  world.data.add('assets', 'alice', ...symbols.map((symbol) => position(symbol, '1')));
  world.data.add('transactions', 'alice', ...sends(30));
  await world.addCustomer('alice');
  await world.syncToEnd('alice');
  for (const symbol of symbols) world.data.remove('assets', 'alice', symbol);
  for (let index = 0; index < 30; index++) {
    world.data.remove('transactions', 'alice', `t${String(index).padStart(3, '0')}`);
  }
  await world.rows('UPDATE calico.customers SET last_full_at = NULL');
  await world.makeDue('alice');
  await world.syncToEnd('alice');

  const listed = await run('removals list');
  expect(listed.stderr).toBe('Next: calico-sync removals approve <id>, or reject <id>\n');
  const table = listed.stdout.split('\n').map((line) => line.replaceAll(/ +/g, ' '));
  expect(table[0]).toBe('id customer stream state held missing of');
  expect(table[1]).toMatch(/^[-0-9a-f]{36} alice assets open .* 25 25$/);
  expect(table[2]).toBe(
    ' 25 of 25 rows were missing; more than 20 do not go unasked: coinbase account-1 A0 mainnet, coinbase account-1 A1 mainnet, coinbase account-1 A10 mainnet, …',
  );
  const holds: { hold_id: string; stream: string }[] = JSON.parse((await run('removals list --json')).stdout);
  expect(holds).toMatchObject([
    { stream: 'assets', state: 'open', held_rows: 25, remaining_rows: 25, live_rows: 25 },
    {
      stream: 'transactions',
      held_rows: 30,
      examples: [
        ['coinbase', 't000'],
        ['coinbase', 't001'],
        ['coinbase', 't002'],
      ],
    },
  ]);
  const [assets, transactions] = holds.map((hold) => hold.hold_id);
  const runs = (await run('runs alice --limit 1')).stdout;
  expect(runs).toMatch(
    /quarantined {2}removed {2}held\n.* 0 +0 +55\n {2}55 removals held: calico-sync removals list\n/,
  );
  expect((await run('customers show alice')).stdout).toContain('complete; 25 removals held');

  expect(await run(`removals approve ${assets}`)).toEqual({
    code: 0,
    stdout: 'Marked 25 positions of alice removed. Should Calico show one again, it is live again.\n',
    stderr: '',
  });
  expect(await run(`removals reject ${transactions?.toUpperCase()}`)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^Kept 30 transactions of alice\. /),
  });
  const [left] = await world.rows(`SELECT
    (SELECT count(*)::int FROM calico.asset_positions WHERE removed_at IS NULL) AS positions,
    (SELECT count(*)::int FROM calico.transactions WHERE removed_at IS NULL) AS transactions`);
  expect(left).toEqual({ positions: 0, transactions: 30 });
  expect((await run('removals list')).stdout).toBe('No removals are held.\n');
  const all: object[] = JSON.parse((await run('removals list --all --json')).stdout);
  expect(all).toMatchObject([{ state: 'approved', removed_rows: 25 }, { state: 'rejected' }]);

  expect(await run(`removals reject ${assets}`)).toEqual({
    code: 1,
    stdout: '',
    stderr: `Hold ${assets} cannot be rejected: it was approved before. Next: calico-sync removals list --all\n`,
  });
  expect(await run(`removals approve ${UNKNOWN}`)).toMatchObject({
    code: 1,
    stderr: `There is no hold ${UNKNOWN}. calico-sync removals list shows those that are open.\n`,
  });
  expect(await run('removals approve nonsense')).toMatchObject({ code: 2 });
  expect(await run('removals approve')).toMatchObject({ code: 2 });

  await run('customers remove alice --purge');
  expect(await world.rows('SELECT FROM calico.held_removals')).toEqual([]);
  expect(await world.rows('SELECT FROM calico.held_removal_rows')).toEqual([]);
});
