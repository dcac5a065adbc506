/** Twenty customers who are synced again and again while something breaks, and the oracle that they are held against. */

import { TRANSACTION_KINDS } from '../../../src/db/schema.ts';
import { type Draw, drawsFrom, pick } from '../../../src/sandbox/generate-random.ts';
import type { SandboxRequest } from '../../../src/sandbox/server-log.ts';
import { differencesFromCalico } from '../as-calico-has-it.ts';
import { faultsOf } from '../crash/digest.ts';
import { position, transaction } from '../records.ts';
import { waitFor } from '../wait-for.ts';
import { createWorld, type World, type WorldOptions } from '../world.ts';

const CUSTOMERS = 20;
const SYMBOLS = ['BTC', 'ETH', 'SOL', 'ADA', 'DOT', 'XRP'];

export type Customers = {
  world: World;
  ids: readonly string[];
  draw: Draw;
  /** Requests that Calico has got so far. */
  requests(): number;
  /** When Calico gets its nth request from now, `act` happens before that is answered. Resolves after it. */
  atRequest(n: number, act: () => unknown): Promise<void>;
  makeAllDue(): Promise<void>;
  /** Something changes at Calico for everybody, and everybody is due. */
  change(): Promise<void>;
  /** Until everybody was synced and nobody is at it. `cutWaits`: without the backoff after failures. */
  untilSynced(options?: { cutWaits?: boolean; timeoutMs?: number }): Promise<void>;
  /** Change after change, each synced by all, until `faults` are over. Gives the number of rounds. */
  syncWhile(faults: Promise<unknown>, options?: { cutWaits?: boolean }): Promise<number>;
  /** What is not as Calico has it, or is stuck, a line each. */
  wrong(): Promise<string[]>;
};

/** Records, changes and moments are a function of the seed. Pages of four: two of positions and three or more of transactions. */
export async function createCustomers(seed: number, options: WorldOptions = {}): Promise<Customers> {
  const draw = drawsFrom(seed);
  let requests = 0;
  const moments = new Map<number, (() => Promise<void>)[]>();
  const onRequest = async (request: SandboxRequest) => {
    requests++;
    const due = moments.get(requests) ?? [];
    moments.delete(requests);
    for (const act of due) await act();
    await options.sandbox?.onRequest?.(request);
  };
  const world = await createWorld({
    ...options,
    settings: { pageLimit: 4, slicePages: 3, leaseMs: 3_000, ...options.settings },
    sandbox: { ...options.sandbox, onRequest },
  });
  const ids = Array.from({ length: CUSTOMERS }, (_, index) => `customer-${index}`);
  for (const id of ids) {
    world.data.add('assets', id, ...SYMBOLS.map((symbol) => position(symbol, amount(draw))));
    for (let index = 0; index < 9 + draw(6); index++)
      world.data.add('transactions', id, random(draw, `t${index}`));
    await world.addCustomer(id);
  }

  const makeAllDue = async () => {
    await world.rows('UPDATE calico.customers SET next_sync_at = now() WHERE next_sync_at > now()');
  };
  let changes = 0;
  const change = async () => {
    changes++;
    for (const id of ids) {
      world.data.replace('assets', id, 'ETH', position('ETH', amount(draw)));
      const moved = `t${draw(9)}`;
      world.data.replace('transactions', id, moved, random(draw, moved));
      world.data.add('transactions', id, random(draw, `new${changes}`));
    }
    await makeAllDue();
  };
  const untilSynced: Customers['untilSynced'] = async ({ cutWaits = false, timeoutMs = 30_000 } = {}) => {
    const pending = async () => {
      if (cutWaits)
        await world.rows('UPDATE calico.customers SET not_before = NULL WHERE not_before > now()');
      return world.rows(
        'SELECT customer_id, status, next_sync_at, not_before, lease_until FROM calico.customers WHERE next_sync_at <= now() OR lease_until IS NOT NULL',
      );
    };
    await waitFor(pending, {
      describe: 'everybody to be synced',
      until: ({ length }) => length === 0,
      timeoutMs,
    });
  };

  return {
    ...{ world, ids, draw, change, makeAllDue, untilSynced },
    requests: () => requests,
    atRequest: (n, act) =>
      new Promise((resolve, reject) => {
        const at = requests + n;
        const once = async () => {
          await Promise.resolve(act()).then(() => resolve(), reject);
        };
        moments.set(at, [...(moments.get(at) ?? []), once]);
      }),
    syncWhile: async (faults, options) => {
      let over = false;
      void faults
        .finally(() => {
          over = true;
        })
        .catch(() => {}); // awaited below
      let rounds = 0;
      do {
        await change();
        // All of the faults may fall into one round.
        await untilSynced({ timeoutMs: 120_000, ...options });
        rounds++;
      } while (!over);
      await faults;
      return rounds;
    },
    wrong: async () => [
      ...(await differencesFromCalico(world, world.sandbox.data, ids)),
      ...(await stuck(world)),
      ...(await faultsOf(world, ids)),
    ],
  };
}

function random(draw: Draw, id: string): object {
  return transaction(pick(draw, TRANSACTION_KINDS), id, { description: amount(draw) });
}

function amount(draw: Draw): string {
  return `${draw(1_000)}.${1 + draw(1_000_000)}`;
}

/** Whoever would not be synced again by itself, and what waits for a person though nothing was wrong at Calico. */
async function stuck({ rows }: World): Promise<string[]> {
  const found = await rows<{ what: string }>(
    `SELECT concat_ws(' ', customer_id, 'is', status, 'due', next_sync_at, 'leased', lease_until) AS what
     FROM calico.customers WHERE status <> 'active' OR next_sync_at <= now() OR lease_until IS NOT NULL
       OR next_sync_at > now() + interval '2 hours'
     UNION ALL SELECT customer_id || ' has a dead letter: ' || reason FROM calico.dead_letters
     UNION ALL SELECT customer_id || ' has a quarantined record' FROM calico.quarantined_records`,
  );
  return found.map(({ what }) => what);
}
