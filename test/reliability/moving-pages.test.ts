/** Paging while data moves, at length; `npm test` runs a sample (test/sync/moving-pages.test.ts). */
import { expect, test } from 'vitest';
import { reportFigures } from '../support/figures.ts';
import { liveThroughMoves } from '../support/moving-histories.ts';

const HISTORIES = 120;

test(`${HISTORIES} histories: nothing that was there is lost or removed, and at rest the rows are Calico’s`, {
  timeout: 10 * 60_000,
}, async () => {
  const tally = await liveThroughMoves(HISTORIES);
  process.stdout.write(`${HISTORIES} histories: ${JSON.stringify(tally)}\n`);
  for (const [what, times] of Object.entries(tally)) expect(times, what).toBeGreaterThan(HISTORIES / 50);
  reportFigures({
    tried:
      'Records come, go and change places at Calico while their pages are walked, in three ways of paging',
    often: `${HISTORIES} random histories of four syncs`,
    result: '0 rows removed whose record was there, 0 differences from Calico’s once it rests',
  });
});
