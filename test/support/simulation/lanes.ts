/** The simulation in a test file: as many databases as lanes, and what every run of it is held against. */
import { expect, onTestFinished } from 'vitest';
import { createTestDatabase } from '../database.ts';
import { type Played, playSeeds } from './play.ts';

/**
 * Plays seeds and expects that each keeps every promise; the message has the commands to play again those that do not.
 * `lanes`: processes that share them; each has to warm up, for some fifty seeds.
 */
export async function expectSeedsToHold(first: number, seeds: number, lanes: number): Promise<Played> {
  const databases = await Promise.all(Array.from({ length: lanes }, () => createTestDatabase()));
  onTestFinished(async () => {
    for (const database of databases) await database.close();
  });
  const result = await playSeeds({ databaseUrls: databases.map(({ url }) => url), first, seeds });
  expect(result.failed.join('\n')).toBe('');
  expect(result.played).toBe(seeds);
  return result;
}
