/** A success, and when its customer is due again. */
import { expect, test } from 'vitest';
import { createAlice } from '../support/alice.ts';
import { customerOf } from '../support/look.ts';

const ALWAYS = Number.POSITIVE_INFINITY;
const MINUTE_MS = 60_000;

test.each([200, 201, 202] as const)('%i with pages is success', async (status) => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'transactions', times: ALWAYS, answer: { status } });

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  const { status: customerStatus, next_ms } = await customerOf(world, 'alice');
  expect(customerStatus).toBe('active');
  expect(next_ms).toBeGreaterThanOrEqual(30 * MINUTE_MS - 5_000);
  expect(next_ms).toBeLessThanOrEqual(90 * MINUTE_MS);
});
