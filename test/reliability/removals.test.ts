/** Promise 6 against 1,000 random histories; `npm test` runs a sample (test/sync/removals-histories.test.ts). */
import { expect, test } from 'vitest';
import { reportFigures } from '../support/figures.ts';
import { HISTORY_PAGE_LIMIT, liveThroughHistories } from '../support/removal-histories.ts';
import { createWorld } from '../support/world.ts';

const HISTORIES = 1_000;

test(`${HISTORIES} histories: no row is removed that should not be, and none stays that should go`, {
  timeout: 20 * 60_000,
}, async () => {
  const world = await createWorld({ settings: { pageLimit: HISTORY_PAGE_LIMIT } });
  const tally = await liveThroughHistories(world, HISTORIES);
  process.stdout.write(`${HISTORIES} histories, each as foretold: ${JSON.stringify(tally)}\n`);
  for (const [what, times] of Object.entries(tally)) expect(times, what).toBeGreaterThan(HISTORIES / 50);
  reportFigures({
    tried: 'Records come and go at Calico, providers fail, workers die, people approve and reject',
    often: `${HISTORIES.toLocaleString('en')} random histories of four syncs`,
    result: '0 rows removed that should not be, 0 kept that should go',
  });
});
