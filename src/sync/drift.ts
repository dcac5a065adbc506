/** Watches a turn's answers for what the contract does not know, and keeps it. */
import type { CalicoClient } from '../calico/client.ts';
import { type Drift, driftIn, MOST_DRIFTS } from '../calico/drift.ts';
import { addDrift } from '../db/drift.ts';
import type { Turn } from './turn.ts';

export type DriftWatch = {
  /** The same client; every answer that is JSON and a success is looked at, also one that is then refused. */
  client: CalicoClient;
  /** What was found since it was last asked. */
  take(): Drift[];
};

export function watchDrift(client: CalicoClient): DriftWatch {
  let found: Drift[] = [];
  return {
    client: {
      send: async (request) => {
        const answer = await client.send(request);
        found.push(...driftIn(request, answer.body));
        return answer;
      },
    },
    take: () => {
      const taken = found;
      found = [];
      return taken;
    },
  };
}

/**
 * Keeps what was found since the last time, in a statement of its own right after the page's commit: a row that every
 * page of every worker counts in must not be locked while a page is written, and a page must not fail for a diagnosis.
 * A process killed in between loses the counts of one page; without drift there is no statement. Never throws.
 */
export async function keepDrift({ deps, drift, run, log }: Pick<Turn, 'deps' | 'drift' | 'run' | 'log'>) {
  const found = drift.take();
  if (found.length === 0) return;
  await deps.db
    .run((orm) => addDrift(orm, run.runId, MOST_DRIFTS, found))
    .catch((err: unknown) => log.warn({ err }, 'what differs from the contract could not be kept'));
}
