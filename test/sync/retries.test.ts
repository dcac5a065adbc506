/** What may be better the next time is tried again, a bounded number of times in a row. */
import { expect, test } from 'vitest';
import { createAlice } from '../support/alice.ts';
import { createGate, nth } from '../support/gate.ts';
import { customerOf, deadLettersOf, fetchesOf, homesOf, runsOf } from '../support/look.ts';
import { waitFor } from '../support/wait-for.ts';

const ALWAYS = Number.POSITIVE_INFINITY;

test('500: tried again, and a dead letter after eight tries in a row', async () => {
  const world = await createAlice({ random: () => 0.5 });
  world.sandbox.faults.add({ endpoint: 'transactions', page: 2, times: ALWAYS, answer: { status: 500 } });

  const waits: number[] = [];
  for (let attempt = 1; attempt <= 7; attempt++) {
    await world.makeDue('alice');
    expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'retry' });
    expect(await runsOf(world, 'alice')).toMatchObject([{ attempts: attempt }]);
    waits.push((await customerOf(world, 'alice')).wait_ms ?? 0);
  }
  expect(waits.every((ms, index) => index === 0 || ms > (waits[index - 1] ?? 0))).toBe(true);
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });

  expect(await deadLettersOf(world, 'alice')).toMatchObject([
    {
      stream: 'transactions',
      http_status: 500,
      code: 500,
      fault: 'calico',
      evidence: {
        kind: 'refused',
        request: expect.stringContaining('GET /platform/v2/transactions?limit=2&cursor='),
        requestId: expect.stringMatching(/^sandbox-/),
        body: expect.stringContaining('"code":500'),
      },
    },
  ]);
  expect(await customerOf(world, 'alice')).toMatchObject({ status: 'active', wait_ms: null });
  expect((await customerOf(world, 'alice')).next_ms).toBeGreaterThan(0);
  expect(Object.keys(await homesOf(world, 'alice')), 'what had landed stays').toHaveLength(2);
});

test('each page that lands gives all tries back', async () => {
  const world = await createAlice();
  for (const page of [1, 8, 15]) {
    world.sandbox.faults.add({ endpoint: 'transactions', page, times: 6, answer: { status: 500 } });
  }
  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
});

test('tries are given back with the page, not when the turn ends', async () => {
  const gate = createGate(nth(5, 'transactions')); // the first page, three of the second, and then the third
  const world = await createAlice({ sandbox: { onRequest: gate.onRequest } });
  world.sandbox.faults.add({ endpoint: 'transactions', page: 2, times: 2, answer: { status: 500 } });
  for (const attempts of [1, 2]) {
    await world.makeDue('alice');
    await world.sync('alice');
    expect(await runsOf(world, 'alice')).toMatchObject([{ attempts }]);
  }
  await world.makeDue('alice');
  const outcome = world.sync('alice');
  await gate.arrival;

  await waitFor(async () => (await runsOf(world, 'alice'))[0]?.attempts, {
    describe: 'the second page to give the tries back',
    until: (attempts) => attempts === 0,
  });

  gate.open();
  expect(await outcome).toMatchObject({ kind: 'done', status: 'succeeded' });
});

test('a run after a dead letter goes on at the checkpoint, with all its tries', async () => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'transactions', page: 2, times: 8, answer: { status: 500 } });
  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'dead_lettered' });
  const firstPages = () => fetchesOf(world, 'alice').get('transactions first page');
  expect(firstPages()).toBe(1);

  await world.makeDue('alice');
  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });

  expect(firstPages()).toBe(1);
  expect((await runsOf(world, 'alice')).map(({ status, attempts }) => [status, attempts])).toEqual([
    ['dead_lettered', 7],
    ['succeeded', 0],
  ]);
});

test.each([
  ['no answer', { reset: true }, 'network', 'network'],
  ['an answer that is no JSON', { rawBody: '<html>' }, 'unreadable', 'calico'],
  ['a code that nobody documented', { status: 418 }, 'refused', 'unknown'],
] as const)(
  '%s: bounded tries, then a dead letter that says whose fault it is',
  async (_what, answer, kind, fault) => {
    const world = await createAlice();
    world.sandbox.faults.add({ endpoint: 'assets', times: ALWAYS, answer });

    expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'retry' });
    await world.makeDue('alice');
    expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'dead_lettered' });

    expect(await deadLettersOf(world, 'alice')).toMatchObject([
      { stream: 'assets', fault, evidence: { kind } },
    ]);
    expect(world.sandbox.requestsFor({ endpoint: 'assets' })).toHaveLength(kind === 'network' ? 8 : 3);
  },
);

test('no answer in time is no answer', async () => {
  const world = await createAlice({ timeoutMs: 100 });
  world.sandbox.faults.add({ endpoint: 'transactions', answer: { delayMs: ALWAYS } });

  expect(await world.sync('alice')).toMatchObject({
    why: 'retry',
    reason: expect.stringContaining('100 ms'),
  });
});

test('tries are counted by situation: no answer twice does not condemn the first answer that is unreadable', async () => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'assets', times: 2, answer: { reset: true } });
  world.sandbox.faults.add({ endpoint: 'assets', times: 2, answer: { rawBody: '<html>' } });

  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
});
