/** What is over by itself is waited for: no try is spent, Retry-After is a floor, and no wait is for ever. */
import { expect, test } from 'vitest';
import { createAlice } from '../support/alice.ts';
import { customerOf, fetchesOf, runsOf } from '../support/look.ts';

const ALWAYS = Number.POSITIVE_INFINITY;
const MINUTE_MS = 60_000;

test('a refresh that was only accepted (202) lets the data settle before the first page, once a run', async () => {
  const world = await createAlice({ settings: { refreshSettleMs: 20_000 } });
  world.sandbox.faults.add({ endpoint: 'refreshAssets', answer: { status: 202 } });

  expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'settle' });
  expect((await customerOf(world, 'alice')).wait_ms).toBeGreaterThan(15_000);
  expect(world.sandbox.requestsFor({ method: 'GET' })).toEqual([]);
  expect(await world.sync('alice'), 'its wait is not over').toMatchObject({ kind: 'not_run' });

  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(world.sandbox.requestsFor({ method: 'POST' })).toHaveLength(2);
  expect(await runsOf(world, 'alice')).toHaveLength(1);
});

test('429: Retry-After is a floor, and no attempt is spent', async () => {
  const world = await createAlice({ random: () => 0 });
  world.sandbox.faults.add({
    endpoint: 'transactions',
    page: 2,
    answer: { status: 429, headers: { 'retry-after': '120' } },
  });

  const outcome = await world.sync('alice');

  expect(outcome).toMatchObject({ kind: 'later', why: 'wait' });
  expect((await customerOf(world, 'alice')).wait_ms).toBeGreaterThan(119_000);
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'waiting', attempts: 0 }]);
  expect(await world.sync('alice')).toMatchObject({ kind: 'not_run' });
  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'not_run' });
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(Math.max(...fetchesOf(world, 'alice').values()), 'only the refused page again').toBe(2);
});

test.each([429, 503])(
  '%i: waiting for the same thing is bounded, and begins anew after a page',
  async (status) => {
    let now = Date.now();
    const world = await createAlice({ now: () => now, settings: { maxWaitMs: 60 * MINUTE_MS } });
    // Tokens live by the same clock: these live long enough.
    await world.rows("UPDATE calico.credentials SET access_expires_at = now() + interval '1 year'");
    const refused = { status, headers: { 'retry-after': '60' } };
    const passLater = async (ms: number) => {
      now += ms;
      await world.makeDue('alice');
      return world.sync('alice');
    };
    // Once before the first page, for 50 minutes; once after it.
    const first = world.sandbox.faults.add({ endpoint: 'transactions', times: ALWAYS, answer: refused });
    expect(await world.sync('alice')).toMatchObject({ why: 'wait' });
    expect(await passLater(50 * MINUTE_MS)).toMatchObject({ why: 'wait' });
    first.remove();
    world.sandbox.faults.add({ endpoint: 'transactions', page: 2, times: ALWAYS, answer: refused });
    expect(await passLater(5 * MINUTE_MS)).toMatchObject({ why: 'wait' });
    expect(await passLater(50 * MINUTE_MS)).toMatchObject({ why: 'wait' });

    const outcome = await passLater(10 * MINUTE_MS);

    expect(outcome).toMatchObject({
      kind: 'dead_lettered',
      reason: expect.stringContaining('waited 60 minutes'),
    });
    expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'dead_lettered', attempts: 0 }]);
  },
);

test('an accepted refresh settles even where the other refresh failed in between', async () => {
  const world = await createAlice({ settings: { refreshSettleMs: 60_000 } });
  world.sandbox.faults.add({ endpoint: 'refreshAssets', answer: { status: 202 } });
  world.sandbox.faults.add({ endpoint: 'refreshTransactions', answer: { status: 500 } });

  expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'retry' });
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'settle' });
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
});
