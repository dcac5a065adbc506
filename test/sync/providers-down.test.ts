/** 206: what is there lands, who is missing is known, and the next look comes soon. */
import { expect, test } from 'vitest';
import { createAlice } from '../support/alice.ts';
import { customerOf, homesOf, runsOf } from '../support/look.ts';
import { DAY_MS } from '../support/records.ts';

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
