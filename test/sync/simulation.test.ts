/** Everything at once, drawn from a seed: a sample of what test/reliability/simulation.test.ts runs in full. */
import { expect, onTestFinished, test } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { expectSeedsToHold } from '../support/simulation/lanes.ts';
import { live } from '../support/simulation/life.ts';
import { openStage } from '../support/simulation/stage.ts';

const SEEDS = 100;

test(`${SEEDS} seeds: nothing lost, doubled, stale, falsely green or removed, nobody stuck`, {
  timeout: 600_000,
}, async () => {
  const { tally } = await expectSeedsToHold(1, SEEDS, 1);
  const happened = [
    'switches',
    'turn fenced',
    'turn is dead',
    'turn later',
    'run dead_lettered',
    'run partial',
  ];
  for (const what of happened) expect(tally[what], what).toBeGreaterThan(3);
});

test('a seed is played the same way twice, whatever was played before it', async () => {
  const databases = [await createTestDatabase(), await createTestDatabase()];
  const stages = await Promise.all(databases.map(({ url }) => openStage(url)));
  onTestFinished(async () => {
    for (const stage of stages) await stage.close();
    for (const database of databases) await database.close();
  });
  const seeds = [11, 42, 73, 118];
  const traces = await Promise.all(
    stages.map(async (stage, index) => {
      const told = new Map<number, string>();
      for (const seed of index === 0 ? seeds : seeds.toReversed())
        told.set(seed, (await live(stage, seed)).trace.join('\n'));
      return told;
    }),
  );
  for (const seed of seeds) expect(traces[0]?.get(seed), `seed ${seed}`).toBe(traces[1]?.get(seed));
});
