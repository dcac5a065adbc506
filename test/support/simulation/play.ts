/** Plays seeds in processes of their own, so that every core has one: a process of Node computes on one alone. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { COMPILE_CACHE, QUICK_IMPORTS } from '../child-process.ts';
import type { Verdict } from './life.ts';

const SCRIPT = fileURLToPath(new URL('lane-process.ts', import.meta.url));

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
    const lane = await startLane(databaseUrl);
    try {
      while (played < seeds && (play.goesOn?.() ?? true)) {
        const verdict = await lane.play(first + played++);
        for (const [what, times] of Object.entries(verdict.tally)) tally[what] = (tally[what] ?? 0) + times;
        play.onVerdict?.(verdict);
        const { seed, faults } = verdict;
        if (faults.length > 0) failed.push(`npm run simulate -- --seed ${seed}\n  ${faults.join('\n  ')}`);
      }
    } finally {
      await lane.close();
    }
  });
  await Promise.all(lanes);
  return { played, failed, tally };
}

type Lane = { play(seed: number): Promise<Verdict>; close(): Promise<void> };

/** @throws in `play` where the process ends: of an error that is none of the seed's. */
async function startLane(databaseUrl: string): Promise<Lane> {
  const child: ChildProcess = fork(SCRIPT, [databaseUrl], {
    env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE },
    execArgv: QUICK_IMPORTS,
  });
  const exit = once(child, 'exit');
  const ended = exit.then(([code, signal]): never => {
    throw new Error(`a process that plays seeds ended with ${code ?? signal}`);
  });
  ended.catch(() => {});
  const answer = async () => {
    const [message] = await Promise.race([once(child, 'message'), ended]);
    return message;
  };
  await answer();
  return {
    play: (seed) => {
      const verdict = answer();
      child.send(seed);
      return verdict;
    },
    close: async () => {
      if (child.connected) child.disconnect();
      await exit;
    },
  };
}
