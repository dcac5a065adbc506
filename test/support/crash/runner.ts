/**
 * Crash at every step: customers live through one history, in each leg of which the process that syncs them is killed at
 * a moment between two effects on the outside. Another goes on to the end of the leg, and then everything must be as it is
 * with a customer whose worker was never killed.
 */
import { onTestFinished } from 'vitest';
import { listDueCustomers } from '../../../src/db/customers.ts';
import type { SandboxRequest } from '../../../src/sandbox/server-log.ts';
import { createWorld, type World } from '../world.ts';
import { type Digest, differences, digestsOf, faultsOf, unknownTables } from './digest.ts';
import { HISTORY, type Leg, PAGE_LIMIT } from './history.ts';
import { openSyncDeps, type SyncSpec, syncToEnd } from './leg.ts';
import { startVictims, type Victims } from './victims.ts';

export type CrashReport = {
  /** Moments that the undisturbed customer passed, over all legs, and how many of them have different names. */
  moments: number;
  kinds: number;
  kills: number;
  /** Legs in which a process came to the end alive, because it was to die at a moment after the last. */
  legsMetWhole: number;
  /** What was not as it is with the undisturbed customer; each says where the process was killed. */
  divergences: string[];
};

/** Customers whose moments one process dies at. Each holds a connection to Postgres, for a moment two. */
const BATCH = 24;
/** Batches at a time: one process runs while the other's customers are brought to their end. */
const LANES = 2;

/** What the undisturbed customer's leg was like. */
type Undisturbed = { leg: Leg; moments: string[]; digest: Digest; gains: string; fetchedAgain: number };

const batchesOf = (customers: number) => Math.ceil(customers / BATCH);

/**
 * Kills at `customers` moments of each leg, evenly spread; without a number at the first, the second and so on, until in
 * each leg a process comes to the end alive.
 */
export async function crashEverywhere({ customers }: { customers?: number } = {}): Promise<CrashReport> {
  const fetches = countFetches();
  const world = await createWorld({
    settings: { pageLimit: PAGE_LIMIT, slicePages: 4 },
    sandbox: { refreshTokenGraceMs: 60_000, logRequests: false, onRequest: fetches.onRequest },
  });
  const unknown = await unknownTables(world);
  const spec = specOf(world);
  const undisturbed = await liveUndisturbed(world, spec, fetches.takeAgain);
  const moments = undisturbed.flatMap(({ leg, moments }) => (leg.calm ? [] : moments));
  const { deps, close } = openSyncDeps(spec);
  onTestFinished(close);
  const stage: Stage = {
    ...{ world, undisturbed, takeAgain: fetches.takeAgain },
    victims: startVictims(
      spec,
      customers === undefined
        ? moments.length
        : batchesOf(customers) * HISTORY.filter(({ calm }) => !calm).length,
    ),
    goOn: (customerId) => syncToEnd(deps, spec.databaseUrl, customerId),
    metWhole: new Set(HISTORY.filter(({ calm }) => calm)),
  };
  const results: LegResult[] = [];
  let batches = 0;
  const isOver = () =>
    customers === undefined
      ? stage.metWhole.size === HISTORY.length || batches === batchesOf(moments.length)
      : batches === batchesOf(customers);
  const lane = async () => {
    while (!isOver()) {
      const first = BATCH * batches++;
      const size = Math.min(BATCH, (customers ?? Infinity) - first);
      const nths = Array.from({ length: size }, (_none, index) => first + index);
      const batch = nths.map((nth) => ({
        customerId: `crashed-${nth + 1}`,
        dieAt: (leg: Undisturbed) =>
          customers === undefined ? nth + 1 : Math.ceil(((nth + 0.5) / customers) * leg.moments.length),
      }));
      results.push(...(await live(stage, batch)));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));

  const pagesLeft = await world.rows('SELECT FROM calico.sync_pages');
  return {
    moments: moments.length,
    kinds: new Set(moments).size,
    kills: results.reduce((sum, { kills }) => sum + kills, 0),
    legsMetWhole: stage.metWhole.size,
    divergences: [
      ...unknown.map((table) => `the table ${table} is neither compared nor left out: see digest.ts`),
      ...results.flatMap((result) => result.divergences),
      ...(pagesLeft.length > 0 ? [`${pagesLeft.length} rows of sync_pages belong to no pass`] : []),
    ],
  };
}

type Stage = {
  world: World;
  undisturbed: readonly Undisturbed[];
  victims: Victims;
  /** Another worker takes over. */
  goOn(customerId: string): Promise<void>;
  takeAgain(customerId: string): number;
  /** Legs in which no moment is left to die at; the calm ones from the start. */
  metWhole: Set<Leg>;
};
type Life = { customerId: string; dieAt(leg: Undisturbed): number };
type LegResult = { leg: Leg; kills: number; divergences: string[] };

/** A batch of customers through the history; one that diverged is left there, for all that follows would too. */
async function live(stage: Stage, batch: readonly Life[]): Promise<LegResult[]> {
  const { world } = stage;
  for (const { customerId } of batch) await world.addCustomer(customerId);
  let lives = batch;
  const results: LegResult[] = [];
  for (const expected of stage.undisturbed) {
    const diverged = await liveLeg(stage, lives, expected, results);
    lives = lives.filter(({ customerId }) => !diverged.has(customerId));
  }
  return results;
}

async function liveLeg(
  { world, victims, goOn, takeAgain, metWhole }: Stage,
  lives: readonly Life[],
  expected: Undisturbed,
  results: LegResult[],
): Promise<Set<string>> {
  const { leg } = expected;
  const customerIds = lives.map(({ customerId }) => customerId);
  const faults = await Promise.all(customerIds.map((customerId) => startLeg(world, leg, customerId)));
  const orders = lives.map((life) => ({ customerId: life.customerId, dieAt: life.dieAt(expected) }));
  const deaths = metWhole.has(leg) ? [] : await victims.run(orders);
  if (deaths.some(({ diedAt }) => diedAt === null)) metWhole.add(leg);
  const diedAt = new Map(deaths.map((death) => [death.customerId, death.diedAt]));

  const divergences: { customerId: string; what: string }[] = [];
  await letTimePass(world, customerIds);
  const due = new Set(await world.db.run((orm) => listDueCustomers(orm, 1_000)));
  for (const customerId of customerIds) {
    if (!due.has(customerId)) continue;
    await goOn(customerId).catch((error) => divergences.push({ customerId, what: String(error) }));
  }
  for (const fault of faults) fault?.remove();

  const digests = await digestsOf(world, customerIds, { removals: leg.calm ?? false });
  const gains = await gainsOf(world, customerIds);
  for (const customerId of customerIds) {
    const found = differences(expected.digest, digests.get(customerId) ?? []);
    if (gains.get(customerId) !== expected.gains)
      found.push(`its receipts say ${gains.get(customerId)}, not ${expected.gains}`);
    const again = takeAgain(customerId) - expected.fetchedAgain;
    // A death costs the page that was being written and the one that was asked for meanwhile. Where nobody was killed, a
    // walk may be repeated for what the one before it missed: that costs no death.
    const allowed = leg.calm ? Infinity : diedAt.get(customerId) ? 2 : 0;
    if (again > allowed) found.push(`${again} pages were fetched again`);
    divergences.push(...found.map((what) => ({ customerId, what })));
  }
  for (const what of await faultsOf(world, customerIds)) divergences.push({ customerId: '', what });

  const where = (customerId: string) => {
    const dieAt = orders.find((order) => order.customerId === customerId)?.dieAt;
    return `${leg.name}: killed at moment ${dieAt} of ${expected.moments.length} (${diedAt.get(customerId)})`;
  };
  results.push({
    leg,
    kills: deaths.filter(({ diedAt }) => diedAt !== null).length,
    divergences: divergences.map(({ customerId, what }) =>
      customerId ? `${where(customerId)}: ${what}` : what,
    ),
  });
  return new Set(divergences.map(({ customerId }) => customerId));
}

/** Ends what only time ends: a dead worker's lease, a run's wait. Waits for transactions that died with their process. */
export async function letTimePass(world: World, customerIds: readonly string[]): Promise<void> {
  await world.rows(
    `UPDATE calico.customers SET not_before = NULL, lease_until = CASE WHEN lease_until IS NOT NULL THEN clock_timestamp() END
     WHERE customer_id = ANY ($1)`,
    [customerIds],
  );
}

async function startLeg(world: World, leg: Leg, customerId: string) {
  const fault = await leg.change(world, customerId);
  await world.makeDue(customerId);
  return fault;
}

/** One customer's whole history without a crash: what every other is measured by. */
async function liveUndisturbed(
  world: World,
  spec: SyncSpec,
  takeAgain: (customerId: string) => number,
): Promise<Undisturbed[]> {
  const customerId = 'undisturbed';
  await world.addCustomer(customerId);
  const legs: Undisturbed[] = [];
  for (const leg of HISTORY) {
    const moments: string[] = [];
    const { deps, close } = openSyncDeps(spec, async (moment) => void moments.push(moment));
    const fault = await startLeg(world, leg, customerId);
    await syncToEnd(deps, spec.databaseUrl, customerId);
    await close();
    fault?.remove();
    const digest =
      (await digestsOf(world, [customerId], { removals: leg.calm ?? false })).get(customerId) ?? [];
    const gains = (await gainsOf(world, [customerId])).get(customerId) ?? '';
    legs.push({ leg, moments, digest, gains, fetchedAgain: takeAgain(customerId) });
  }
  return legs;
}

/** What all receipts of a customer have inserted and updated: a row that is counted twice shows here. */
async function gainsOf(world: World, customerIds: readonly string[]): Promise<Map<string, string>> {
  const rows = await world.rows<{ customer_id: string; gains: string }>(
    `SELECT customer_id, string_agg(gains, ', ' ORDER BY stream) AS gains FROM (
       SELECT customer_id, stream, format('%s: %s inserted, %s updated', stream, sum(inserted), sum(updated)) AS gains
       FROM calico.sync_runs JOIN calico.sync_run_streams USING (run_id)
       WHERE customer_id = ANY ($1) GROUP BY customer_id, stream) AS streams
     GROUP BY customer_id`,
    [customerIds],
  );
  return new Map(rows.map(({ customer_id, gains }) => [customer_id, gains]));
}

/** Counts how often each page of a customer is asked for; `takeAgain` gives how many askings were not the first. */
function countFetches() {
  const fetches = new Map<string, string[]>();
  return {
    onRequest: ({ customerId, endpoint, query, method }: SandboxRequest) => {
      if (method !== 'GET' || customerId === null) return;
      const pages = fetches.get(customerId) ?? [];
      fetches.set(customerId, [...pages, `${endpoint} ${query['start_time']} ${query['cursor']}`]);
    },
    takeAgain: (customerId: string) => {
      const pages = fetches.get(customerId) ?? [];
      fetches.delete(customerId);
      return pages.length - new Set(pages).size;
    },
  };
}

export function specOf({ deps, database, sandbox }: World): SyncSpec {
  const { apiUrl, authUrl, clientId, clientSecret } = sandbox;
  const keyBase64 = deps.keys.get('test')?.toString('base64') ?? '';
  return {
    apiUrl,
    authUrl,
    clientId,
    clientSecret,
    settings: deps.settings,
    databaseUrl: database.url,
    keyBase64,
  };
}
