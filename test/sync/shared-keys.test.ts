/** Promise 7, second half: two records of one pass that share a key and are two things. */
import { describe, expect, test } from 'vitest';
import { receiptOf, runsOf } from '../support/look.ts';
import { EPOCH_MS, transaction } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

const first = transaction('send', 't1', { description: 'first' });
const SECONDS: Record<string, object> = {
  account: transaction('send', 't1', { account_id: 'account-2' }),
  time: transaction('send', 't1', { timestamp: EPOCH_MS + 1 }),
  hash: transaction('send', 't1', { hash: '0xother' }),
  'account, where the first had none': transaction('send', 't1', { account_id: 'account-2' }),
};

async function syncTwoRecords(one: object, other: object, pageLimit: number) {
  const world = await createWorld({ settings: { pageLimit } });
  world.data.add('transactions', 'alice', one, other);
  await world.addCustomer('alice');
  const outcome = await world.sync('alice');
  return { world, outcome };
}

describe.each([
  ['in the same page', 100],
  ['in a later page of the same pass', 1],
])('%s', (_where, pageLimit) => {
  test.each(Object.entries(SECONDS))(
    'another %s: the second is quarantined, the first stays',
    async (what, second) => {
      const one = what.endsWith('none') ? { ...first, account_id: null } : first;

      const { world, outcome } = await syncTwoRecords(one, second, pageLimit);

      expect(outcome).toMatchObject({ kind: 'done', status: 'partial' });
      expect(await descriptions(world)).toEqual(['first']);
      const quarantined = await world.rows<{ raw_text: string; problems: { message: string }[] }>(
        'SELECT raw_text, problems FROM calico.quarantined_records WHERE resolved_at IS NULL',
      );
      expect(quarantined.map(({ raw_text }) => raw_text)).toEqual([JSON.stringify(second)]);
      expect(quarantined[0]?.problems[0]?.message).toContain('same id and another account, time or hash');
      const walks = pageLimit === 1 ? 2 : 1;
      expect(await latestReceipt(world)).toMatchObject({
        fetched: walks * 2,
        inserted: 1,
        unchanged: (walks - 1) * 2,
        quarantined: 1,
        balanced: true,
      });
    },
  );

  test('the first comes back after its rival: a repeat, and the rival stays set aside', async () => {
    const world = await createWorld({ settings: { pageLimit } });
    world.data.add('transactions', 'alice', first, { ...first, hash: '0xrival' }, first);
    await world.addCustomer('alice');

    expect(await world.sync('alice')).toMatchObject({ status: 'partial' });
    expect(await descriptions(world)).toEqual(['first']);
    expect(await world.rows('SELECT raw_text FROM calico.quarantined_records')).toHaveLength(1);
  });

  test('only what it says of itself changed: the later word counts', async () => {
    const { world, outcome } = await syncTwoRecords(first, { ...first, description: 'second' }, pageLimit);

    expect(outcome).toMatchObject({ status: 'succeeded' });
    expect(await descriptions(world)).toEqual(['second']);
    expect(await world.rows('SELECT FROM calico.quarantined_records')).toEqual([]);
  });

  test('with another provider it is another transaction', async () => {
    const { world, outcome } = await syncTwoRecords(
      first,
      { ...first, provider_id: 'kraken', hash: '0x2' },
      pageLimit,
    );

    expect(outcome).toMatchObject({ status: 'succeeded' });
    expect(await descriptions(world)).toHaveLength(2);
  });
});

test.each(Object.entries(SECONDS))('in a later pass another %s is a correction', async (_what, second) => {
  const world = await createWorld({ settings: { pageLimit: 1 } });
  world.data.add('transactions', 'alice', transaction('send', 't0', { provider_id: 'a' }), first);
  await world.addCustomer('alice');
  await world.sync('alice');

  world.data.replace('transactions', 'alice', 't1', { ...second, description: 'corrected' });
  await world.makeDue('alice');

  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });
  expect(await descriptions(world)).toEqual([null, 'corrected']);
  expect(await latestReceipt(world)).toMatchObject({ unchanged: 1, updated: 1, quarantined: 0 });
});

test('a correction and what it corrects in one later pass: the first word of that pass stays', async () => {
  const world = await createWorld({ settings: { pageLimit: 1 } });
  world.data.add('transactions', 'alice', first);
  await world.addCustomer('alice');
  await world.sync('alice');

  // Later passes bring the correction first, and then what was there before.
  world.data.remove('transactions', 'alice', 't1');
  world.data.add('transactions', 'alice', { ...first, hash: '0xnew', description: 'corrected' }, first);
  await world.makeDue('alice');

  expect(await world.sync('alice')).toMatchObject({ status: 'partial' });
  expect(await descriptions(world)).toEqual(['corrected']);
});

test('two workers of one pass know of each other’s keys: a rival is found behind a crash, too', async () => {
  const world = await createWorld({ settings: { pageLimit: 1, slicePages: 1 } });
  world.data.add('transactions', 'alice', first, { ...first, hash: '0xrival', description: 'rival' });
  await world.addCustomer('alice');
  await world.sync('alice'); // the assets
  await world.sync('alice'); // the first transaction
  await world.rows("UPDATE calico.sync_runs SET status = 'running'"); // as one whose worker died

  await world.syncToEnd('alice');

  expect((await runsOf(world, 'alice')).map(({ status }) => status)).toEqual(['abandoned', 'partial']);
  expect(await descriptions(world)).toEqual(['first']);
});

async function descriptions(world: World): Promise<(string | null)[]> {
  const rows = await world.rows<{ description: string | null }>(
    'SELECT description FROM calico.transactions ORDER BY provider_id',
  );
  return rows.map(({ description }) => description);
}

async function latestReceipt(world: World) {
  const run = (await runsOf(world, 'alice')).at(-1);
  return receiptOf(world, run?.run_id ?? '', 'transactions');
}

test('of a page whose other records stand as they came it is the rival that is set aside', async () => {
  const world = await createWorld({ settings: { pageLimit: 3 } });
  const others = [1, 2, 3, 4].map((ms) => transaction('send', `u${ms}`, { timestamp: EPOCH_MS + ms }));
  const rival = { ...first, timestamp: EPOCH_MS + 5 };
  world.data.add('transactions', 'alice', first, ...others, rival);
  await world.addCustomer('alice');
  for (const _sync of [1, 2]) {
    await world.rows("UPDATE calico.customers SET requested_mode = 'full', requested_trigger = 'manual'");
    await world.makeDue('alice');
    expect(await world.sync('alice')).toMatchObject({ status: 'partial' });
    expect(await world.rows('SELECT raw_text FROM calico.quarantined_records')).toEqual([
      { raw_text: JSON.stringify(rival) },
    ]);
    expect(await world.rows('SELECT FROM calico.send_transactions')).toHaveLength(5);
  }
});
