/** Quarantined records that are replayed, and those that are gone by themselves. */
import { expect, test } from 'vitest';
import { requestSync } from '../../src/db/customers.ts';
import {
  type Choice,
  type Left,
  type Replayed,
  replayQuarantined,
} from '../../src/sync/replay-quarantined.ts';
import { position, sends, transaction, withSource } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

const malformed = { output: { asset_symbol: 'ETH', amount: 'much' } };

async function replay(world: World, choice: Choice = 'all'): Promise<(Replayed | Left)[]> {
  return Array.fromAsync(replayQuarantined(world.db, choice, true));
}

/** What a version that reads more would make of a record: its text, as if it had been right all along. */
async function learnToRead(world: World, id: string, record: object): Promise<void> {
  const { length } = await world.rows(
    'UPDATE calico.quarantined_records SET raw_text = $2 WHERE raw_text LIKE $1 RETURNING id',
    [`%"${id}"%`, JSON.stringify(record)],
  );
  if (length !== 1) throw new Error(`${length} records of ${id}`);
}

async function described(world: World): Promise<Record<string, string | null>> {
  const rows = await world.rows<{ transaction_id: string; description: string | null }>(
    'SELECT transaction_id, description FROM calico.transactions ORDER BY 1',
  );
  return Object.fromEntries(rows.map(({ transaction_id, description }) => [transaction_id, description]));
}

async function resolutions(world: World): Promise<Record<string, string | null>> {
  const rows = await world.rows<{ record_key: string; resolution: string | null }>(
    `SELECT record_key, CASE WHEN resolved_at IS NOT NULL THEN resolution END AS resolution
     FROM calico.quarantined_records ORDER BY record_key`,
  );
  return Object.fromEntries(
    rows.map(({ record_key, resolution }) => [record_key.replace(/ \w{32}$/, ' HASH'), resolution]),
  );
}

test('what can be read by now lands, under its run; what cannot says why; what landed otherwise is not overwritten', async () => {
  const world = await createWorld({ settings: { pageLimit: 1 } });
  const stored = (id: string, more: object = {}) =>
    transaction('send', id, { description: 'stored', ...more });
  const replayed = (id: string, more: object = {}) => stored(id, { description: 'replayed', ...more });
  world.data.add('assets', 'alice', position('BTC', 'many'));
  world.data.add(
    'transactions',
    'alice',
    ...['corrected', 'moved', 'rival', 'later', 'keyless'].map((id) => stored(id)),
  );
  await world.addCustomer('alice');
  await world.sync('alice');
  world.data.add(
    'transactions',
    'alice',
    transaction('send', 'new', malformed),
    transaction('send', 'bad', malformed),
  );
  world.data.add('transactions', 'alice', stored('rival', { hash: '0xother' }));
  world.data.add('transactions', 'alice', { ...stored('nobody'), transaction_id: 7, hash: 'nobody' });
  for (const id of ['corrected', 'moved', 'later']) {
    world.data.replace('transactions', 'alice', id, stored(id, malformed));
  }
  await world.makeDue('alice');
  await world.sync('alice');
  expect(Object.values(await resolutions(world))).toEqual(Array(8).fill(null));

  await learnToRead(world, 'new', replayed('new'));
  await learnToRead(world, 'BTC', position('BTC', '5'));
  await learnToRead(world, 'corrected', replayed('corrected'));
  await learnToRead(world, 'moved', replayed('moved', { hash: '0xelsewhere' }));
  await learnToRead(world, 'rival', replayed('rival', { hash: '0xother' }));
  await learnToRead(world, 'nobody', replayed('keyless'));
  await learnToRead(world, 'later', replayed('later'));
  await world.rows(
    `UPDATE calico.send_transactions SET last_changed_at = now() + interval '1 min' WHERE transaction_id = 'later'`,
  );

  const results = await replay(world);

  const problems = Object.fromEntries(
    results.map((one) => {
      if ('left' in one) throw new Error(`${one.customerId} was left`);
      const key = one.recordKey.replace(/\w{32}$/, 'HASH');
      return [key, one.landed ? 'landed' : one.problems.map(({ path, message }) => path + message).join()];
    }),
  );
  expect(problems).toEqual({
    '["coinbase","account-1","BTC","mainnet",""]': 'landed',
    '["coinbase","bad"]': 'output.amountis not a decimal number',
    '["coinbase","corrected"]': 'landed',
    '["coinbase","later"]': 'a row with its key landed or changed since',
    '["coinbase","moved"]': 'the row with its key is another record',
    '["coinbase","new"]': 'landed',
    '["coinbase","rival"] HASH': 'a row with its key is there, and may be another record or a later one',
    'text HASH': 'a row with its key is there, and may be another record or a later one',
  });
  expect(await described(world)).toEqual({
    corrected: 'replayed',
    keyless: 'stored',
    later: 'stored',
    moved: 'stored',
    new: 'replayed',
    rival: 'stored',
  });
  expect(await resolutions(world)).toMatchObject({
    '["coinbase","new"]': 'replayed',
    '["coinbase","bad"]': null,
  });
  expect(await world.rows('SELECT quantity::text FROM calico.asset_positions')).toEqual([{ quantity: '5' }]);
  expect(
    await world.rows(
      `SELECT last_run_id = (SELECT run_id FROM calico.sync_runs ORDER BY started_at DESC LIMIT 1) AS latest
       FROM calico.send_transactions WHERE transaction_id = 'new'`,
    ),
  ).toEqual([{ latest: true }]);
  expect(await world.rows('SELECT FROM calico.sync_pages'), 'nothing of it stays').toEqual([]);

  // One with a key that nobody has lands, too; and what landed is not replayed again.
  await world.rows(`DELETE FROM calico.send_transactions WHERE transaction_id = 'keyless'`);
  const [{ id } = { id: '' }] = await world.rows<{ id: string }>(
    `SELECT id FROM calico.quarantined_records WHERE record_key LIKE 'text %'`,
  );
  expect(await replay(world, { id })).toMatchObject([{ landed: true }]);
  expect(await replay(world, { id })).toEqual([]);
  expect((await described(world))['keyless']).toBe('replayed');
});

test('a customer that is being synced, or is gone, is left; one that Postgres refuses does not end the others', async () => {
  const world = await createWorld({ ownDatabase: true });
  world.data.add('transactions', 'alice', ...sends(3, () => malformed));
  await world.addCustomer('alice');
  await world.sync('alice');
  await world.rows(`ALTER TABLE calico.send_transactions ADD CHECK (description <> 'poison')`);
  for (const [index, record] of sends(3).entries()) {
    await learnToRead(world, `t00${index}`, index === 1 ? { ...record, description: 'poison' } : record);
  }

  await world.rows(`UPDATE calico.customers SET lease_until = now() + interval '1 min'`);
  expect(await replay(world)).toEqual([{ customerId: 'alice', left: 'busy' }]);
  await world.expireLease('alice');
  expect(
    (await replay(world, { customerId: 'alice' })).map((one) => 'landed' in one && one.landed),
  ).toHaveLength(3);
  expect(Object.keys(await described(world))).toEqual(['t000', 't002']);

  await world.rows('DELETE FROM calico.customers');
  expect(await replay(world)).toEqual([{ customerId: 'alice', left: 'unknown' }]);
});

test('what a whole full pass does not meet is gone: with or without a key, and an earlier broken text', async () => {
  const world = await createWorld({ settings: { pageLimit: 2 } });
  const rival = (description: string) => transaction('send', 't000', { hash: '0xrival', description });
  const odd = withSource(transaction('send', 'odd'), 'transaction_id', '7');
  world.data.add(
    'transactions',
    'alice',
    ...sends(3),
    rival('one'),
    odd,
    transaction('send', 'bad', malformed),
  );
  await world.addCustomer('alice');
  await world.sync('alice');
  const before = { '["coinbase","bad"]': null, '["coinbase","t000"] HASH': null, 'text HASH': null };
  expect(await resolutions(world)).toEqual(before);
  world.data.remove('transactions', 'alice', 'bad');
  world.data.remove('transactions', 'alice', '');
  const syncFully = async () => {
    await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
    await world.syncToEnd('alice');
  };

  await world.makeDue('alice');
  await world.syncToEnd('alice');
  expect(await resolutions(world), 'an incremental pass').toEqual(before);

  world.sandbox.faults.add({
    endpoint: 'transactions',
    answer: { partial: [{ provider_id: 'x', cause: 'down' }] },
  });
  await syncFully();
  expect(await resolutions(world), 'a pass with a 206').toEqual(before);

  world.sandbox.faults.add({ endpoint: 'transactions', page: 2, answer: { status: 404 } });
  await syncFully();
  await world.makeDue('alice');
  await world.syncToEnd('alice');
  expect(await resolutions(world), 'a pass of two runs').toEqual(before);

  await syncFully();
  expect(await resolutions(world)).toEqual({ ...before, '["coinbase","bad"]': 'gone', 'text HASH': 'gone' });
});
