/** Promise 1: killed between any two effects on the outside, a sync ends as if it had not been. All of them: reliability/. */
import { expect, test } from 'vitest';
import { crashEverywhere } from '../support/crash/runner.ts';

test('killed at seven moments of each leg of a history, a customer has what the undisturbed one has', async () => {
  const report = await crashEverywhere({ customers: 7 });

  expect(report.divergences).toEqual([]);
  expect(report.kills).toBeGreaterThanOrEqual(40);
});
