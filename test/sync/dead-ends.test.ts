/** What no retry helps: the evidence is kept, and whose schedule stops. */
import { expect, test } from 'vitest';
import { createAlice } from '../support/alice.ts';
import { customerOf, deadLettersOf, fetchesOf, runsOf } from '../support/look.ts';

const ALWAYS = Number.POSITIVE_INFINITY;

test.each([
  [403, 'forbidden'],
  [601, 'not_found'],
  [602, 'not_authorized'],
  [603, 'reauth_required'],
] as const)('%i stops the customer’s schedule as %s', async (code, status) => {
  for (const answer of [{ status: code }, { bodyCode: code }]) {
    const world = await createAlice();
    world.sandbox.faults.add({ endpoint: 'transactions', times: ALWAYS, answer });

    expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });

    expect(await customerOf(world, 'alice')).toMatchObject({ status });
    expect(await deadLettersOf(world, 'alice')).toMatchObject([{ code, fault: 'customer' }]);
    await world.makeDue('alice');
    expect(await world.sync('alice')).toMatchObject({ kind: 'not_run' });
  }
});

test.each([404, 701])('%i ends the run and leaves the customer active', async (code) => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'assets', answer: { bodyCode: code } });

  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });
  expect(await customerOf(world, 'alice')).toMatchObject({ status: 'active' });
});

test('new credentials start a customer again, at its checkpoint', async () => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'transactions', page: 2, times: 2, answer: { status: 603 } });
  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });

  await world.addCustomer('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });

  expect(fetchesOf(world, 'alice').get('transactions first page')).toBe(1);
  expect(await runsOf(world, 'alice')).toMatchObject([
    { status: 'dead_lettered' },
    { trigger: 'credentials' },
  ]);
});

test('a customer without credentials is a dead letter that says so', async () => {
  const world = await createAlice();
  await world.rows('DELETE FROM calico.credentials');

  expect(await world.sync('alice')).toMatchObject({
    kind: 'dead_lettered',
    reason: expect.stringContaining('no credentials'),
  });
  expect(await customerOf(world, 'alice')).toMatchObject({ status: 'reauth_required' });
});
