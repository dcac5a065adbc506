/** After an outage more are due than one tick takes: whoever is due longest begins first, over many ticks and two workers. */
import { expect, it, onTestFinished } from 'vitest';
import { openDatabase } from '../../src/db/client.ts';
import { listDueCustomers } from '../../src/db/customers.ts';
import { acquireLease } from '../../src/db/leases.ts';
import { startTick } from '../../src/queue/tick.ts';
import { createTestDatabase } from '../support/database.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { done, openTestQueue } from './harness.ts';

const CUSTOMERS = 60;
const WORKERS = 2;
const CONCURRENCY = 2;

describeOnBothQueues('catching up', (backend) => {
  it('begins with those that are due longest, over many ticks', async () => {
    const database = await createTestDatabase();
    const db = openDatabase({ url: database.url, maxConnections: 6 });
    onTestFinished(async () => {
      await db.close();
      await database.close();
    });
    // Due over two hours, in no order of their names.
    const { rows } = await database.pool.query<{ id: string }>(
      `INSERT INTO calico.customers (customer_id, next_sync_at)
       SELECT md5(i::text), now() - interval '2 minutes' * i FROM generate_series(1, $1::int) i
       RETURNING customer_id AS id`,
      [CUSTOMERS],
    );
    const oldestFirst = rows.map(({ id }) => id).reverse();

    const queue = await openTestQueue(backend);
    const begun: string[] = [];
    const runSync = async (customerId: string) => {
      const lease = await db.run((orm) => acquireLease(orm, customerId, 60_000));
      if (!lease) return { kind: 'not_run', reason: 'not due' } as const;
      begun.push(customerId);
      await database.pool.query(
        `UPDATE calico.customers SET next_sync_at = now() + interval '1 hour', lease_until = NULL WHERE customer_id = $1`,
        [customerId],
      );
      return done;
    };
    for (let worker = 0; worker < WORKERS; worker++) {
      await queue.startWorker({ concurrency: CONCURRENCY, runSync });
      const tick = startTick({
        everyMs: 100,
        listDue: (limit) => db.run((orm) => listDueCustomers(orm, limit)),
        queue: queue.sync,
        log: queue.logs.log,
        limit: 7,
      });
      onTestFinished(() => tick.stop());
    }
    await waitFor(() => begun.length === CUSTOMERS, { describe: 'everybody to be synced' });

    // Nobody overtakes another by more than the places at which customers are worked on.
    const ranks = begun.map((customerId) => oldestFirst.indexOf(customerId));
    const overtaken = ranks.map((rank, at) => ranks.slice(at + 1).filter((later) => later < rank).length);
    expect(Math.max(...overtaken)).toBeLessThanOrEqual(WORKERS * CONCURRENCY);
  });
});
