/** One leg of a customer's sync, as the killed process, the one that goes on and the undisturbed one do it. */
import pg from 'pg';
import { pino } from 'pino';
import { type CalicoClient, createCalicoClient } from '../../../src/calico/client.ts';
import { openDatabase } from '../../../src/db/client.ts';
import { beginAhead } from '../../../src/sync/ahead.ts';
import { createFleet } from '../../../src/sync/fleet.ts';
import { runSync } from '../../../src/sync/run-sync.ts';
import type { SyncDeps } from '../../../src/sync/turn.ts';
import type { SyncProcessSpec } from '../sync-process.ts';

/** Told of every moment before and after an effect on the outside; what it returns is awaited. */
export type OnEffect = (moment: string) => Promise<void>;

/**
 * Tells of each moment between two effects once: where one ends and another begins next, nothing happens outside, and dying
 * at either is the same.
 */
function betweenEffects(onMoment: OnEffect): OnEffect {
  let isBetween = false;
  return async (moment) => {
    const wasBetween = isBetween;
    isBetween = moment.endsWith(':after');
    if (!wasBetween || isBetween) await onMoment(moment);
  };
}

export type SyncSpec = Omit<SyncProcessSpec, 'customerId'>;

/** What a sync needs, on connections of its own. */
export function openSyncDeps(
  spec: SyncSpec,
  onMoment?: OnEffect,
): { deps: SyncDeps; close(): Promise<void> } {
  const onEffect = onMoment && betweenEffects(onMoment);
  const onStatement = onEffect && ((moment: string) => onEffect(`statement ${moment}`));
  const db = openDatabase({ url: spec.databaseUrl, maxConnections: 2, ...(onStatement && { onStatement }) });
  const client = createCalicoClient({ ...spec, timeoutMs: 30_000, maxBodyBytes: 1 << 24, now: Date.now });
  const surroundings = { log: pino({ level: 'silent' }), now: Date.now, random: Math.random };
  const deps: SyncDeps = {
    db,
    client: onEffect ? announced(client, onEffect) : client,
    oauth: spec,
    keys: new Map([['test', Buffer.from(spec.keyBase64, 'base64')]]),
    begin: beginAhead,
    isAnyoneWaiting: async () => true,
    unheard: new Set(),
    settings: spec.settings,
    fleet: createFleet({ ...surroundings, db, limiter: { acquire: async () => {} }, maxWaitMs: 60_000 }),
    ...surroundings,
  };
  return { deps, close: () => db.close() };
}

function announced(client: CalicoClient, onEffect: OnEffect): CalicoClient {
  return {
    send: async (request) => {
      await onEffect(`request ${request.endpoint}:before`);
      try {
        return await client.send(request);
      } finally {
        await onEffect(`request ${request.endpoint}:after`);
      }
    },
  };
}

/** Turns after which a run that does not end is a defect. */
const MAX_TURNS = 20;

/** Turns of a customer's sync until its run is over; waits are cut short. @throws where it ends in anything but `done`. */
export async function syncToEnd(deps: SyncDeps, databaseUrl: string, customerId: string): Promise<void> {
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    const outcome = await runSync(deps, customerId, new AbortController().signal);
    if (outcome.kind === 'done') return;
    if (outcome.kind !== 'later') throw new Error(`${customerId}: ${JSON.stringify(outcome)}`);
    if (outcome.notBefore.getTime() > Date.now()) await endWait(databaseUrl, customerId);
  }
  throw new Error(`${customerId}: the run did not end within ${MAX_TURNS} turns`);
}

async function endWait(connectionString: string, customerId: string): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query('UPDATE calico.customers SET not_before = NULL WHERE customer_id = $1', [customerId]);
  await client.end();
}
