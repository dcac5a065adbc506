/**
 * A process that syncs several customers, each until it is about to pass a given moment, and then kills itself: SIGKILL,
 * with transactions open and connections in use. A customer that has come to its moment stands still there until the
 * others have come to theirs: one process, which takes most of a second to start, so dies at a moment of each of them.
 */
import { writeSync } from 'node:fs';
import { type OnEffect, openSyncDeps, type SyncSpec, syncToEnd } from './leg.ts';
import type { QueueSpec } from './queue-leg.ts';

/**
 * `dieAt`: the nth moment before or after an effect, from 1; of those of one name where a `moment` is given. With a queue
 * its calls are the effects, and the job comes from it.
 */
export type Order = { customerId: string; dieAt: number; moment?: string; queue?: QueueSpec };
/** What became of an order. `diedAt` null: the customer's run was over before. */
export type Death = { customerId: string; diedAt: string | null };

process.once('message', async ({ spec, orders }: { spec: SyncSpec; orders: readonly Order[] }) => {
  const deaths = await Promise.all(orders.map((order) => syncUntil(spec, order)));
  // Not over the IPC channel: what that has taken may be unsent when the process is gone.
  writeSync(1, JSON.stringify(deaths));
  if (deaths.some(({ diedAt }) => diedAt !== null)) process.kill(process.pid, 'SIGKILL');
  process.exit(0);
});
process.send?.('ready');

async function syncUntil(spec: SyncSpec, { customerId, dieAt, moment: only, queue }: Order): Promise<Death> {
  const { promise: dies, resolve: die } = Promise.withResolvers<string>();
  let moments = 0;
  const onEffect: OnEffect = async (moment) => {
    if (only === undefined || only === moment) moments++;
    if (moments < dieAt) return;
    die(moment);
    await new Promise<never>(() => {});
  };
  const ends = queue
    ? import('./queue-leg.ts').then(({ workToEnd }) => workToEnd(spec, queue, customerId, onEffect))
    : syncToEnd(openSyncDeps(spec, onEffect).deps, spec.databaseUrl, customerId);
  return { customerId, diedAt: await Promise.race([dies, ends.then(() => null)]) };
}
