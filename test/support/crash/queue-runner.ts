/** Crash between two calls to the queue: the worker that dies had its job from BullMQ, and another worker finds it. */
import { migrateQueue } from '../../../src/queue/connection.ts';
import type { TestQueueBackend } from '../queue-backends.ts';
import { createWorld } from '../world.ts';
import { differences, digestsOf, faultsOf } from './digest.ts';
import { HISTORY, PAGE_LIMIT } from './history.ts';
import { workToEnd } from './queue-leg.ts';
import { letTimePass, specOf } from './runner.ts';
import { startVictims } from './victims.ts';

export type QueueCrashReport = {
  /** The moments that the undisturbed worker passed, each once; of these, those at which nobody died. */
  moments: string[];
  unmet: string[];
  kills: number;
  divergences: string[];
};

/**
 * Kills a worker at each kind of moment before and after a call that moves its job, when it passes it for the first time,
 * the second and so on up to `times`. How often a worker asks for a job is up to clocks, so moments are told by name.
 */
export async function crashAtQueueCalls(
  backend: TestQueueBackend,
  { times }: { times: number },
): Promise<QueueCrashReport> {
  const world = await createWorld({ settings: { pageLimit: PAGE_LIMIT, slicePages: 2 } });
  const spec = specOf(world);
  const [leg] = HISTORY;
  const queueOf = (customerId: string) => ({ url: backend.url, prefix: `${backend.prefix}_${customerId}` });
  const add = async (customerId: string) => {
    await migrateQueue(backend.url, queueOf(customerId).prefix);
    await world.addCustomer(customerId);
    await leg?.change(world, customerId);
  };

  await add('undisturbed');
  const passed = new Set<string>();
  const listen = async (moment: string) => void passed.add(moment);
  await workToEnd(spec, queueOf('undisturbed'), 'undisturbed', listen);
  const expected = (await digestsOf(world, ['undisturbed'], { removals: true })).get('undisturbed') ?? [];

  const victims = startVictims(spec, times);
  const moments = [...passed];
  const report: QueueCrashReport = { moments, unmet: [], kills: 0, divergences: [] };
  const met = new Set<string>();
  for (let dieAt = 1; dieAt <= times; dieAt++) {
    const orders = moments.map((moment, index) => {
      const customerId = `crashed_${dieAt}_${index}`;
      return { customerId, moment, dieAt, queue: queueOf(customerId) };
    });
    const customerIds = orders.map(({ customerId }) => customerId);
    for (const customerId of customerIds) await add(customerId);
    const deaths = await victims.run(orders);
    await letTimePass(world, customerIds);
    const goOn = (customerId: string) => workToEnd(spec, queueOf(customerId), customerId);
    const ends = await Promise.allSettled(customerIds.map(goOn));
    for (const end of ends) if (end.status === 'rejected') report.divergences.push(String(end.reason));

    const digests = await digestsOf(world, customerIds, { removals: true });
    for (const { customerId, diedAt } of deaths) {
      if (diedAt !== null) report.kills++;
      if (diedAt !== null) met.add(diedAt);
      const found = differences(expected, digests.get(customerId) ?? []);
      report.divergences.push(...found.map((what) => `killed at ${diedAt} (${dieAt}): ${what}`));
    }
    report.divergences.push(...(await faultsOf(world, customerIds)));
  }
  return { ...report, unmet: moments.filter((moment) => !met.has(moment)) };
}
