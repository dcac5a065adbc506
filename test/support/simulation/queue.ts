/**
 * The queue as Postgres' hint that it is: jobs by customer, which the seed loses, doubles, holds up and puts out of order.
 * BullMQ itself is too slow for thousands of seeds; its faults are tried on the real one (test/reliability, test/queue).
 */
import type { Draw } from '../../../src/sandbox/generate-random.ts';
import type { Plan } from './plan.ts';

export type SimulatedQueue = {
  /** Adds whoever has no job yet, mostly. Says what became of each. */
  add(customerIds: readonly string[]): string[];
  /** Gives a job to a worker; null where none is to be had. It stays its customer's until `over`. */
  take(): string | null;
  over(customerId: string): void;
  flush(): void;
  /** From now on nothing goes wrong here. */
  heal(): void;
};

/** An empty queue. */
export function createQueue(draw: Draw, chances: Plan['queue']): SimulatedQueue {
  let waiting: string[] = [];
  const active: string[] = [];
  let { lose, double, delay } = chances;
  const happens = (chance: number) => draw(100) < chance;
  return {
    add: (customerIds) =>
      customerIds.flatMap((customerId) => {
        const isThere = waiting.includes(customerId) || active.includes(customerId);
        if (isThere && !happens(double)) return [];
        if (happens(lose)) return [`${customerId}'s job is lost`];
        waiting.push(customerId);
        return [`${customerId} has a ${isThere ? 'second ' : ''}job`];
      }),
    take: () => {
      if (waiting.length === 0 || happens(delay)) return null;
      const [customerId = null] = waiting.splice(draw(waiting.length), 1);
      if (customerId !== null) active.push(customerId);
      return customerId;
    },
    over: (customerId) => {
      const at = active.indexOf(customerId);
      if (at >= 0) active.splice(at, 1);
    },
    flush: () => {
      waiting = [];
    },
    heal: () => {
      lose = 0;
      double = 0;
      delay = 0;
    },
  };
}
