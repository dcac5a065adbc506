/** Promises 8 and 10: while all workers wait the queue is idle, and it may lose everything. */
import { expect, it } from 'vitest';
import { listDueCustomers } from '../../src/db/customers.ts';
import { readFleetPause } from '../../src/db/fleet-pause.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld } from '../support/world.ts';
import { openTestQueue, tickOf } from './harness.ts';

const CUSTOMERS = 12;

describeOnBothQueues('a paused fleet', (backend) => {
  it('enqueues and runs nobody, forgets nobody though the queue burns, and goes on when a probe was answered', async () => {
    const world = await createWorld();
    for (let n = 0; n < CUSTOMERS; n++) await world.addCustomer(`customer ${n}`);
    const answer = { status: 503, headers: { 'retry-after': '3600' } };
    world.sandbox.faults.add({ endpoint: 'refreshTransactions', answer });
    const queue = await openTestQueue(backend);
    let ticks = 0;
    tickOf(queue, async () => {
      const due = await world.db.run((orm) => listDueCustomers(orm, 100));
      ticks += 1;
      return due;
    });
    let turns = 0;
    await queue.startWorker({
      concurrency: 3,
      runSync: (customerId, stop) => {
        turns += 1;
        return runSync(world.deps, customerId, stop);
      },
    });
    const isIdle = async () => {
      const { waiting, active } = await queue.sync.counts();
      return waiting + active === 0;
    };
    await waitFor(() => world.db.run(readFleetPause), { describe: 'the pause' });
    await waitFor(isIdle, { describe: 'all turns to end' });

    await queue.bull.obliterate({ force: true });
    const before = { turns, requests: world.sandbox.requests.length };
    const from = ticks;
    await waitFor(() => ticks >= from + 3, { describe: 'three ticks' });
    expect(await queue.bull.getJobs()).toEqual([]);
    expect({ turns, requests: world.sandbox.requests.length }).toEqual(before);

    await world.rows('UPDATE calico.fleet_pause SET until = now()');
    await world.rows('UPDATE calico.customers SET not_before = NULL');
    const ended = () =>
      world
        .rows(`SELECT customer_id FROM calico.sync_runs WHERE status = 'succeeded'`)
        .then((rows) => rows.length);
    await waitFor(ended, { describe: 'everybody to be synced', until: (count) => count === CUSTOMERS });
    expect(await world.db.run(readFleetPause)).toBeNull();
    expect(await world.rows('SELECT * FROM calico.dead_letters')).toEqual([]);
  });
});
