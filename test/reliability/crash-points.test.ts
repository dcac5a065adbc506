/** Promises 1 and 8: killed between any two effects on the outside, nothing shows. `npm test` has some of these moments. */
import { expect, it, test } from 'vitest';
import { HISTORY } from '../support/crash/history.ts';
import { crashAtQueueCalls } from '../support/crash/queue-runner.ts';
import { crashEverywhere } from '../support/crash/runner.ts';
import { reportFigures } from '../support/figures.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';

/** Fewer would mean that moments are no longer named. */
const LEAST_KILLS = 150;
const TIMES = 3;

test('killed at every moment of a history, customers have what the undisturbed one has', async ({
  annotate,
}) => {
  const { moments, kinds, kills, legsMetWhole, divergences } = await crashEverywhere();

  await annotate(`${kills} kills at ${moments} moments of ${kinds} kinds, ${divergences.length} divergences`);
  expect(divergences).toEqual([]);
  expect(kills).toBeGreaterThanOrEqual(LEAST_KILLS);
  expect(legsMetWhole, 'legs in which there was no moment left to die at').toBe(HISTORY.length);
  reportFigures({
    tried:
      'A sync is killed (SIGKILL) at its first moment between two effects on the outside, its second, and so on to its last',
    often: `at least ${LEAST_KILLS} kills`,
    result: `${divergences.length} customers differ from the one that was never killed`,
  });
});

describeOnBothQueues('a worker', (backend) => {
  it('killed before or after any call that moves its job, early or late, leaves nothing undone', async ({
    annotate,
  }) => {
    const { moments, kills, unmet, divergences } = await crashAtQueueCalls(backend, { times: TIMES });

    await annotate(`${kills} kills at moments of ${moments.length} kinds, ${divergences.length} divergences`);
    expect(divergences).toEqual([]);
    expect(unmet).toEqual([]);
    reportFigures({
      tried: 'A worker is killed before and after each call that adds, takes, puts back or ends its job',
      often: `the first ${TIMES} times that it makes the call, on Redis and on Postgres`,
      result: `${divergences.length} customers differ from the one whose worker lived`,
    });
  });
});
