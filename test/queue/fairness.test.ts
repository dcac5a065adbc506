import { expect, it } from 'vitest';
import type { Outcome } from '../../src/sync/outcome.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { done, later, openTestQueue } from './harness.ts';

const others = Array.from({ length: 50 }, (_, index) => `customer ${index}`);

describeOnBothQueues('a customer with a million transactions', (backend) => {
  const yields: Record<string, () => Outcome> = {
    'after a slice': () => later(new Date(), 'slice'),
    'when its wait is over already': () => later(new Date(0)),
  };

  it.each(Object.entries(yields))('goes behind the fifty who wait: %s', async (_when, slice) => {
    const queue = await openTestQueue(backend);
    await queue.sync.enqueueMany(['whale', ...others]);
    const order: string[] = [];
    await queue.startWorker({
      runSync: async (customerId) => {
        order.push(customerId);
        return customerId === 'whale' && order.length <= 51 ? slice() : done;
      },
    });
    await waitFor(() => order.length === 52, { describe: 'every turn' });
    expect(order).toEqual(['whale', ...others, 'whale']);
  });

  it('shares its turns evenly with another one like it', async () => {
    const queue = await openTestQueue(backend);
    await queue.sync.enqueueMany(['one', 'two']);
    const turns: Record<string, number> = { one: 0, two: 0 };
    const lead: number[] = [];
    await queue.startWorker({
      runSync: async (customerId) => {
        const mine = (turns[customerId] ?? 0) + 1;
        turns[customerId] = mine;
        lead.push(Math.abs((turns['one'] ?? 0) - (turns['two'] ?? 0)));
        return mine < 20 ? later(new Date(), 'slice') : done;
      },
    });
    await waitFor(() => lead.length === 40, { describe: 'all slices' });
    expect(Math.max(...lead)).toBe(1);
  });

  it('has every slice run once, whichever of two workers takes it', async () => {
    const queue = await openTestQueue(backend);
    const customers = others.slice(0, 20);
    const turns = new Map(customers.map((customerId) => [customerId, 0]));
    const runSync = async (customerId: string) => {
      const mine = (turns.get(customerId) ?? 0) + 1;
      turns.set(customerId, mine);
      return mine < 10 ? later(new Date(), 'slice') : done;
    };
    await Promise.all([1, 2].map(() => queue.startWorker({ concurrency: 5, runSync })));
    await queue.sync.enqueueMany(customers);
    await waitFor(() => queue.sync.counts(), {
      describe: 'all to be done',
      until: ({ waiting, active, delayed }) => waiting + active + delayed === 0,
      timeoutMs: 15_000,
    });
    expect([...new Set(turns.values())]).toEqual([10]);
  });
});
