/** `why`, asked about customers to whom something happened. */
import { expect, test } from 'vitest';
import { position, sends, transaction } from '../support/records.ts';
import { createWorld } from '../support/world.ts';
import { commandWith } from './command.ts';

test('tells each customer’s story: what it read, what is missing, what happens next, what helps', async () => {
  const world = await createWorld();
  const run = commandWith({ DATABASE_URL: world.database.url });
  const ids = ['new', 'fine', 'gone', 'slow', 'odd', 'lost', 'off'];
  for (const id of ids) {
    world.data.add('assets', id, position('BTC', '1'));
    world.data.add('transactions', id, ...sends(2));
    await world.addCustomer(id);
  }
  world.data.add('transactions', 'odd', transaction('send', 'bad', { output: null }));
  const { faults } = world.sandbox;
  faults.add({ customerId: 'gone', endpoint: 'transactions', answer: { bodyCode: 601 } });
  faults.add({
    customerId: 'slow',
    endpoint: 'assets',
    answer: { status: 429, headers: { 'retry-after': '3600' } },
  });
  faults.add({
    customerId: 'odd',
    endpoint: 'assets',
    answer: { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] },
  });
  faults.add({ customerId: 'lost', endpoint: 'assets', answer: { status: 404 } });
  for (const id of ids.slice(1).filter((id) => id !== 'slow')) await world.sync(id);
  await world.sync('slow');
  const inPause = await run('why new');
  expect(inPause.stdout).toMatch(
    /Next: All workers wait for Calico: Calico’s rate limit is exceeded \(.*\)\. It goes on/,
  );
  await world.rows('DELETE FROM calico.fleet_pause');
  await run('customers pause off --reason holidays');
  await world.rows(
    `UPDATE calico.customers SET next_sync_at = now() - interval '1 h' WHERE customer_id = 'new'`,
  );

  const told = new Map<string, string[]>();
  for (const id of ids) {
    const { code, stdout, stderr } = await run(`why ${id}`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    told.set(
      id,
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.trim()),
    );
  }
  const saysIn = (id: string, ...lines: unknown[]) => expect(told.get(id)).toEqual(lines);
  const text = (pattern: RegExp) => expect.stringMatching(pattern);
  saysIn(
    'new',
    'new is active.',
    'It has not run yet.',
    text(/^Next: It was due 1 h ago and nobody works on it: is a worker running\?$/),
    'What helps: calico-sync doctor',
  );
  const assets = 'It read 1 record of assets in 1 page: 1 new, 0 changed, 0 as before.';
  saysIn(
    'fine',
    'fine is active.',
    text(/^The last run \(full\) began (now|\d+ s ago) and succeeded after \S+ s\.$/),
    assets,
    'It read 2 records of transactions in 1 page: 2 new, 0 changed, 0 as before.',
    text(/^Next: The next sync begins in \d+ (min|h)\.$/),
    'There is nothing to do.',
  );
  saysIn(
    'gone',
    'gone is not_found.',
    text(/and was given up after .*: Calico does not know this customer \(.*601.*\)\.$/),
    assets,
    text(
      /^What a person can do: check that the customer still exists at Calico, then calico-sync customers add gone\.$/,
    ),
    text(/^Next: Nothing, until it has new credentials/),
    'What helps: calico-sync customers add gone',
  );
  saysIn(
    'slow',
    'slow is active.',
    text(/and was put off: Calico’s rate limit is exceeded \(.*\)\.$/),
    text(/^Next: The run goes on in (59 min|1 h)\.$/),
    'There is nothing to do.',
  );
  saysIn(
    'odd',
    'odd is active.',
    text(/ended with something left open after .*: providers down: kraken; 1 record quarantined\.$/),
    assets,
    'It read 3 records of transactions in 1 page: 2 new, 0 changed, 0 as before, 1 set aside.',
    text(/^Provider kraken went down .*: maintenance\. What it missed is read again when it is back\.$/),
    '1 record in quarantine.',
    text(/^Next: The next sync begins in \d min, and looks whether the provider is back\.$/),
    'What helps: calico-sync quarantine list --customer odd',
  );
  expect(told.get('lost')?.at(-1)).toMatch(/^What helps: calico-sync dead-letters show [0-9a-f-]{36}$/);
  expect(told.get('off')?.slice(-3)).toEqual([
    'It is paused: holidays.',
    'Next: Nothing, until it is resumed; it then goes on at its checkpoint.',
    'What helps: calico-sync customers resume off',
  ]);

  const json = JSON.parse((await run('why gone --json')).stdout);
  expect(json).toMatchObject({
    customer_id: 'gone',
    status: 'not_found',
    next_at: null,
    command: 'calico-sync customers add gone',
    facts: { run: { status: 'dead_lettered', streams: [{ stream: 'assets' }] } },
  });
  expect(await run('why nobody')).toMatchObject({
    code: 1,
    stdout: '',
    stderr: 'There is no customer nobody. calico-sync customers list shows all.\n',
  });
});
