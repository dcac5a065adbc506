/** 206: what is there lands, who is missing is known, and the next look comes soon. */
import { expect, test } from 'vitest';
import { createAlice } from '../support/alice.ts';
import { customerOf, homesOf, runsOf } from '../support/look.ts';
import { DAY_MS, EPOCH_MS, transaction } from '../support/records.ts';

const ALWAYS = Number.POSITIVE_INFINITY;
const MINUTE_MS = 60_000;

const krakenIsDown = { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] };

test('206: the data lands, the provider is down until a run that it is not missing from', async () => {
  const world = await createAlice();
  const fault = world.sandbox.faults.add({ endpoint: 'transactions', times: ALWAYS, answer: krakenIsDown });

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'partial' });
  expect(Object.keys(await homesOf(world, 'alice'))).toHaveLength(5);
  expect(await runsOf(world, 'alice')).toMatchObject([{ reason: 'providers down: kraken' }]);
  const status =
    'SELECT provider_id, state, cause, since, last_ok_at IS NULL AS never_ok FROM calico.provider_status';
  const [down] = await world.rows<{ since: Date }>(status);
  expect(down).toMatchObject({ provider_id: 'kraken', state: 'down', cause: 'maintenance', never_ok: true });
  await world.makeDue('alice');
  await world.sync('alice');
  expect(await world.rows(status), 'it keeps since when').toMatchObject([{ since: down?.since }]);

  fault.remove();
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });
  expect(await world.rows(status)).toMatchObject([{ state: 'ok', cause: null, never_ok: false }]);
});

test('206: follow-ups after 5, 15 and 45 minutes at most, then the schedule again', async () => {
  const world = await createAlice({ settings: { syncIntervalMs: 30 * DAY_MS } });
  world.sandbox.faults.add({ endpoint: 'assets', times: ALWAYS, answer: krakenIsDown });

  for (const minutes of [5, 15, 45]) {
    await world.makeDue('alice');
    await world.sync('alice');
    expect(Math.round((await customerOf(world, 'alice')).next_ms / MINUTE_MS)).toBe(minutes);
  }
  await world.makeDue('alice');
  await world.sync('alice');
  expect((await customerOf(world, 'alice')).next_ms).toBeGreaterThan(10 * DAY_MS);
  expect((await runsOf(world, 'alice')).map(({ trigger }) => trigger)).toEqual([
    'schedule',
    'follow_up',
    'follow_up',
    'follow_up',
  ]);

  world.sandbox.faults.clear();
  await world.makeDue('alice');
  await world.sync('alice');
  expect((await customerOf(world, 'alice')).follow_ups).toBe(0);
});

test.each(['transactions', 'refreshAssets'] as const)(
  '206 of %s that names nobody is partial all the same',
  async (endpoint) => {
    const world = await createAlice();
    world.sandbox.faults.add({ endpoint, answer: { partial: [] } });

    expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'partial' });
    expect(await world.rows('SELECT state FROM calico.provider_status')).toEqual([{ state: 'down' }]);
  },
);

test('a provider that a refresh could not read is down', async () => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'refreshTransactions', answer: krakenIsDown });

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'partial' });
  expect(await world.rows('SELECT provider_id, state FROM calico.provider_status')).toEqual([
    { provider_id: 'kraken', state: 'down' },
  ]);
});

test('a provider that was missing in one turn is missing from the run that goes on in another', async () => {
  const world = await createAlice({ settings: { slicePages: 1 } });
  world.sandbox.faults.add({ endpoint: 'transactions', answer: krakenIsDown });

  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'done', status: 'partial' });
});

test('one provider is back while another is down; one that is not named may be either', async () => {
  const world = await createAlice();
  const runWith = async (...partial: { provider_id?: string; cause: string }[]) => {
    world.sandbox.faults.add({ endpoint: 'assets', answer: { partial } });
    await world.makeDue('alice');
    await world.sync('alice');
    return world.rows('SELECT provider_id, state FROM calico.provider_status ORDER BY provider_id');
  };
  await runWith({ provider_id: 'binance', cause: 'x' }, { provider_id: 'kraken', cause: 'x' });

  expect(await runWith({ cause: 'x' })).toMatchObject([
    { provider_id: '(not named)', state: 'down' },
    { provider_id: 'binance', state: 'down' },
    { provider_id: 'kraken', state: 'down' },
  ]);
  expect(await runWith({ provider_id: 'binance', cause: 'x' })).toMatchObject([
    { provider_id: '(not named)', state: 'ok' },
    { provider_id: 'binance', state: 'down' },
    { provider_id: 'kraken', state: 'ok' },
  ]);
});

test.each(['transactions', 'refreshTransactions'] as const)(
  'a provider that was down for 90 days by %s: when it returns, its gap is read again',
  async (endpoint) => {
    const world = await createAlice();
    await world.sync('alice');
    const down = world.sandbox.faults.add({ endpoint, times: ALWAYS, answer: krakenIsDown });
    const gap: string[] = [];
    // Every 30 days coinbase has something new, which lands; kraken has it too, and nobody hears of it. Once in full.
    for (const month of [1, 2, 3]) {
      const timestamp = EPOCH_MS + month * 30 * DAY_MS;
      world.data.add('transactions', 'alice', transaction('receive', `new-${month}`, { timestamp }));
      if (month === 2) await world.rows("UPDATE calico.customers SET requested_mode = 'full'");
      await world.makeDue('alice');
      expect(await world.sync('alice')).toMatchObject({ status: 'partial' });
      gap.push(`missed-${month}`);
    }
    down.remove();
    for (const [index, id] of gap.entries()) {
      const timestamp = EPOCH_MS + (index + 1) * 30 * DAY_MS - 1;
      const missed = transaction('receive', id, { timestamp, provider_id: 'kraken' });
      world.data.add('transactions', 'alice', missed);
    }

    await world.makeDue('alice');
    expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });
    expect((await runsOf(world, 'alice')).at(-1)).toMatchObject({ mode: 'incremental' });
    expect(Object.keys(await homesOf(world, 'alice'))).toEqual(expect.arrayContaining(gap));

    // From then on the window is short again.
    world.sandbox.clearRequests();
    await world.makeDue('alice');
    await world.sync('alice');
    const [first] = world.sandbox.requestsFor({ endpoint: 'transactions' });
    expect(Number(first?.query['start_time'])).toBeGreaterThan(EPOCH_MS + 80 * DAY_MS);
  },
);
