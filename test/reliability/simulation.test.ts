/** 2,000 seeds of the simulation; `npm test` runs a sample (test/sync/simulation.test.ts), `npm run simulate` any number. */
import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { reportFigures } from '../support/figures.ts';
import { expectSeedsToHold } from '../support/simulation/lanes.ts';

const SEEDS = 2_000;

test(`${SEEDS} seeds: nothing lost, doubled, stale, falsely green or removed, nobody stuck`, async () => {
  const { tally } = await expectSeedsToHold(1, SEEDS, availableParallelism());
  const happened = Object.entries(tally).map(([what, times]) => `${times} ${what}`);
  process.stdout.write(`${SEEDS} seeds: ${happened.toSorted().join(', ')}\n`);
  const rare = [
    'turn fenced',
    'turn is dead',
    'turn stopped',
    'fault 53100',
    'fault 40001',
    'fault terminate',
  ];
  for (const what of rare) expect(tally[what], what).toBeGreaterThan(SEEDS / 200);
  reportFigures({
    tried:
      'Up to three workers, moved step by step, meet faults of Calico, Postgres and the queue, deaths, stalls, moving data and operators, all drawn from a seed',
    often: `${SEEDS.toLocaleString('en')} seeds`,
    result: 'nothing lost, doubled, stale, falsely green or falsely removed, no secret outside, nobody stuck',
  });
});
