/** One turn of a customer's sync in a process of its own, which a test can kill. Prints the outcome. */
import { pino } from 'pino';
import { createCalicoClient } from '../../src/calico/client.ts';
import { openDatabase } from '../../src/db/client.ts';
import { beginAhead } from '../../src/sync/ahead.ts';
import { createFleet } from '../../src/sync/fleet.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import type { SyncSettings } from '../../src/sync/turn.ts';

export type SyncProcessSpec = {
  customerId: string;
  databaseUrl: string;
  apiUrl: string;
  authUrl: string;
  clientId: string;
  clientSecret: string;
  keyBase64: string;
  settings: SyncSettings;
};

const spec: SyncProcessSpec = JSON.parse(process.env['SYNC_PROCESS'] ?? '{}');
const db = openDatabase({ url: spec.databaseUrl, maxConnections: 3 });
const surroundings = { log: pino({ level: 'silent' }), now: Date.now, random: Math.random };
const outcome = await runSync(
  {
    db,
    client: createCalicoClient({ ...spec, timeoutMs: 30_000, maxBodyBytes: 1 << 24, now: Date.now }),
    oauth: spec,
    keys: new Map([['test', Buffer.from(spec.keyBase64, 'base64')]]),
    begin: beginAhead,
    isAnyoneWaiting: async () => true,
    unheard: new Set(),
    settings: spec.settings,
    fleet: createFleet({ ...surroundings, db, limiter: { acquire: async () => {} }, maxWaitMs: 60_000 }),
    ...surroundings,
  },
  spec.customerId,
  new AbortController().signal,
);
await db.close();
process.stdout.write(JSON.stringify(outcome));
