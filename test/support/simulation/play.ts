import { live, type Verdict } from './life.ts';
import { openStage } from './stage.ts';

export type Play = {
  /** Migrated databases that nobody else uses: a lane each. Seeds of one lane follow each other. */
  databaseUrls: readonly string[];
  first: number;
  seeds: number;
  goesOn?(): boolean;
  onVerdict?(verdict: Verdict): void;
};

export type Played = {
  played: number;
  /** What broke, with the command that shows how. */
  failed: string[];
  /** What happened over all seeds, by name. */
  tally: Record<string, number>;
};

/** Plays seed after seed, a few at a time. */
export async function playSeeds({ databaseUrls, first, seeds, ...play }: Play): Promise<Played> {
  const failed: string[] = [];
  const tally: Record<string, number> = {};
  let played = 0;
  const lanes = databaseUrls.map(async (databaseUrl) => {
    const stage = await openStage(databaseUrl);
    try {
      while (played < seeds && (play.goesOn?.() ?? true)) {
        const verdict = await live(stage, first + played++);
        for (const [what, times] of Object.entries(verdict.tally)) tally[what] = (tally[what] ?? 0) + times;
        play.onVerdict?.(verdict);
        const { seed, faults } = verdict;
        if (faults.length > 0) failed.push(`npm run simulate -- --seed ${seed}\n  ${faults.join('\n  ')}`);
      }
    } finally {
      await stage.close();
    }
  });
  await Promise.all(lanes);
  return { played, failed, tally };
}
