/** Promise 4: a record that cannot be read or stored is kept with its exact text, and the rest of its page lands. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { homesOf, receiptOf, runsOf } from '../support/look.ts';
import { position, sends, transaction, withSource } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

type Quarantined = {
  record_key: string;
  raw_text: string;
  problems: { path: string; message: string }[];
  times_seen: number;
  resolved: boolean;
};

async function quarantined(world: World): Promise<Quarantined[]> {
  return world.rows<Quarantined>(
    `SELECT record_key, raw_text, problems, times_seen, resolved_at IS NOT NULL AS resolved
     FROM calico.quarantined_records ORDER BY record_key`,
  );
}

const malformed = { output: { asset_symbol: 'ETH', amount: 'much' } };

test('a malformed record is kept as it came, byte for byte, and its neighbours land', async () => {
  const world = await createWorld();
  const odd = String.raw`{ "transaction_id" :"odd",	"provider_id":"coin\u0062ase",
    "timestamp":1704067200000,"kind":"send", "note":"\ud83d \u0000 é \\u0000 \/","big":123456789012345678901234567890.10e-7,
    "output":{"asset_symbol":"ETH","amount":"much"}, "kind":"receive" }`;
  world.data.add('transactions', 'alice', ...sends(2), odd);
  await world.addCustomer('alice');

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'partial' });

  expect(Object.keys(await homesOf(world, 'alice'))).toEqual(['t000', 't001']);
  expect(await quarantined(world)).toEqual([
    {
      record_key: '["coinbase","odd"]',
      raw_text: odd,
      problems: [{ path: 'output.amount', message: 'is not a decimal number' }],
      times_seen: 1,
      resolved: false,
    },
  ]);
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'partial', reason: '1 record quarantined' }]);
});

test.each(['null', '7', '"text"', '[]', '{}', '[[{"transaction_id":"t"}]]'])(
  'what is no record at all is kept too: %s',
  async (text) => {
    const world = await createWorld();
    world.data.add('transactions', 'alice', text, ...sends(1));
    await world.addCustomer('alice');

    expect(await world.sync('alice')).toMatchObject({ status: 'partial' });
    expect((await quarantined(world)).map(({ raw_text }) => raw_text)).toEqual([text]);
    expect(Object.keys(await homesOf(world, 'alice'))).toEqual(['t000']);
  },
);

test('seen again it is counted, and resolved when it lands', async () => {
  const world = await createWorld();
  world.data.add('transactions', 'alice', transaction('send', 't1', malformed));
  world.data.add('assets', 'alice', position('BTC', 'many'));
  await world.addCustomer('alice');
  await world.sync('alice');
  await world.makeDue('alice');
  await world.sync('alice');
  expect((await quarantined(world)).map(({ times_seen, resolved }) => [times_seen, resolved])).toEqual([
    [2, false],
    [2, false],
  ]);

  world.data.replace('transactions', 'alice', 't1', transaction('send', 't1'));
  world.data.replace('assets', 'alice', 'BTC', position('BTC', '1'));
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });
  expect((await quarantined(world)).map(({ resolved }) => resolved)).toEqual([true, true]);

  world.data.replace('transactions', 'alice', 't1', transaction('send', 't1', malformed));
  await world.makeDue('alice');
  await world.sync('alice');
  expect((await quarantined(world)).map(({ times_seen, resolved }) => [times_seen, resolved])).toContainEqual(
    [3, false],
  );
});

test('two malformed records of one page that share a key are both kept', async () => {
  const world = await createWorld();
  const one = transaction('send', 't1', malformed);
  const other = transaction('send', 't1', { output: null });
  world.data.add('transactions', 'alice', one, other);
  await world.addCustomer('alice');
  await world.sync('alice');

  const texts = (await quarantined(world)).map(({ raw_text }) => raw_text).sort();
  expect(texts).toEqual([JSON.stringify(one), JSON.stringify(other)].sort());
});

/** Values that pass our contract and that Postgres refuses. */
const REFUSED: Record<string, (id: string) => string | object> = {
  'an id that no index can hold': (id) =>
    transaction('send', `${id}${randomBytes(10_000).toString('base64')}`),
  'a number that numeric cannot hold, in a field nobody reads': (id) =>
    withSource(transaction('send', id), 'unknown', '1e400000'),
  'a number of too many decimals there': (id) => withSource(transaction('send', id), 'unknown', '1e-20000'),
};

test.each(Object.entries(REFUSED))(
  '%s: one row is set aside, the rest of the page lands',
  async (_what, poison) => {
    const world = await createWorld();
    const record = poison('t500');
    world.data.add('transactions', 'alice', ...sends(9), record);
    await world.addCustomer('alice');

    expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'partial' });

    expect(Object.keys(await homesOf(world, 'alice'))).toEqual(
      sends(9).map((send) => send['transaction_id']),
    );
    const text = typeof record === 'string' ? record : JSON.stringify(record);
    expect((await quarantined(world)).map(({ raw_text }) => raw_text)).toEqual([text]);
  },
);

test('a key too long for an index is the same key the next time', async () => {
  const world = await createWorld();
  const id = randomBytes(10_000).toString('base64');
  world.data.add('transactions', 'alice', transaction('send', id));
  await world.addCustomer('alice');
  await world.sync('alice');
  await world.makeDue('alice');
  await world.sync('alice');

  expect(await quarantined(world)).toMatchObject([{ times_seen: 2, resolved: false }]);
});

test('a position whose key no index can hold is set aside, too', async () => {
  const world = await createWorld();
  const symbol = randomBytes(10_000).toString('base64');
  world.data.add('assets', 'alice', position('BTC', '1'), position(symbol, '1'));
  await world.addCustomer('alice');

  expect(await world.sync('alice')).toMatchObject({ status: 'partial' });
  expect(await world.rows('SELECT asset_symbol FROM calico.asset_positions')).toEqual([
    { asset_symbol: 'BTC' },
  ]);
  expect(await quarantined(world)).toHaveLength(1);
});

test('five poisoned rows of a hundred: ninety-five land, five are kept, the receipt balances', async () => {
  const world = await createWorld();
  const poisoned = [0, 1, 49, 50, 99];
  for (const [index, record] of sends(100).entries()) {
    world.data.add(
      'transactions',
      'alice',
      poisoned.includes(index) ? withSource(record, 'unknown', '1e400000') : record,
    );
  }
  await world.addCustomer('alice');

  const outcome = await world.sync('alice');

  expect(outcome).toMatchObject({ kind: 'done', status: 'partial' });
  expect(Object.keys(await homesOf(world, 'alice'))).toHaveLength(95);
  expect((await quarantined(world)).map(({ record_key }) => record_key)).toEqual(
    ['t000', 't001', 't049', 't050', 't099'].map((id) => `["coinbase","${id}"]`),
  );
  const [run] = await runsOf(world, 'alice');
  expect(await receiptOf(world, run?.run_id ?? '', 'transactions')).toMatchObject({
    pages: 1,
    fetched: 100,
    inserted: 95,
    quarantined: 5,
    balanced: true,
  });
});

test('a poisoned correction leaves the row as it was, its fees included', async () => {
  const world = await createWorld();
  const good = transaction('send', 't1', { fees: { items: [{ asset_symbol: 'USD', amount: '1' }] } });
  world.data.add('transactions', 'alice', good);
  await world.addCustomer('alice');
  await world.sync('alice');

  world.data.replace(
    'transactions',
    'alice',
    't1',
    withSource({ ...good, kind: 'uncategorized' }, 'unknown', '1e400000'),
  );
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ status: 'partial' });

  expect(await homesOf(world, 'alice')).toEqual({ t1: 'send' });
  expect(await world.rows('SELECT amount::text FROM calico.transaction_fees')).toEqual([{ amount: '1' }]);
});

test('text that Postgres cannot hold is stored escaped, not refused', async () => {
  const world = await createWorld();
  world.data.add(
    'transactions',
    'alice',
    withSource(transaction('send', 't1'), 'description', String.raw`"a\u0000b\ud83d"`),
  );
  await world.addCustomer('alice');

  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });
  expect(await world.rows('SELECT description FROM calico.transactions')).toEqual([
    { description: String.raw`a\u0000b\ud83d` },
  ]);
});
