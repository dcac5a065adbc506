/** Promise 6 against random histories: a sample of what test/reliability/removals.test.ts runs in full. */
import { expect, test } from 'vitest';
import { HISTORY_PAGE_LIMIT, liveThroughHistories } from '../support/removal-histories.ts';
import { createWorld } from '../support/world.ts';

const HISTORIES = 15;

test(`${HISTORIES} histories: no row is removed that should not be, and none stays that should go`, async () => {
  const world = await createWorld({ settings: { pageLimit: HISTORY_PAGE_LIMIT } });
  const tally = await liveThroughHistories(world, HISTORIES);
  for (const [what, times] of Object.entries(tally)) expect(times, what).toBeGreaterThan(0);
});
