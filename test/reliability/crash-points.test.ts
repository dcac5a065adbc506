/** Promises 1 and 8: killed between any two effects on the outside, nothing shows. `npm test` has some of these moments. */
import { expect, it, test } from 'vitest';
import { HISTORY } from '../support/crash/history.ts';
import { crashAtQueueCalls } from '../support/crash/queue-runner.ts';
import { crashEverywhere } from '../support/crash/runner.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';

test('killed at every moment of a history, customers have what the undisturbed one has', async ({
  annotate,
}) => {
  const { moments, kinds, kills, legsMetWhole, divergences } = await crashEverywhere();

  await annotate(`${kills} kills at ${moments} moments of ${kinds} kinds, ${divergences.length} divergences`);
  expect(divergences).toEqual([]);
  expect(kills).toBeGreaterThanOrEqual(150);
  expect(legsMetWhole, 'legs in which there was no moment left to die at').toBe(HISTORY.length);
});

describeOnBothQueues('a worker', (backend) => {
  it('killed before or after any call that moves its job, early or late, leaves nothing undone', async ({
    annotate,
  }) => {
    const { moments, kills, unmet, divergences } = await crashAtQueueCalls(backend, { times: 3 });

    await annotate(`${kills} kills at moments of ${moments.length} kinds, ${divergences.length} divergences`);
    expect(divergences).toEqual([]);
    expect(unmet).toEqual([]);
  });
});
