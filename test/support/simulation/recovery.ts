/** And then all is well: whatever was under way comes to its end, and everybody is synced once more from the first page on. */
import { requestSync, resumeCustomer } from '../../../src/db/customers.ts';
import { giveCredentials, turnProvider } from './happenings.ts';
import { type Life, note } from './state.ts';
import { engage } from './turns.ts';

/** Turns after which everybody must be at rest: a customer has no more than 8 tries at anything. */
const MOST_TURNS = 80;

/** Ends all trouble, brings what a person has to bring, and syncs everybody until all are at rest. */
export async function recovery(life: Life): Promise<void> {
  const { calico, stage, plan, queue } = life;
  note(life, 'all is well');
  life.plan = { ...plan, workers: 1 };
  life.turns = 0;
  life.isCalm = true;
  queue.heal();
  for (const customerId of calico.customerIds) {
    if (calico.isDown(customerId)) turnProvider(life, customerId);
    if (plan.mends) calico.mend(customerId, ++life.step);
  }
  await untilAtRest(life);
  await bringCredentials(life);
  // A pass that an earlier run began proves nothing of what is gone: one more, from its first page. So is one where only the
  // first has noticed that the tokens had ended for good.
  for (let passes = 0; passes < 3; passes++) {
    const { rows } = await stage.pool.query('SELECT FROM calico.checkpoints WHERE pass_run_id IS NOT NULL');
    await stage.db.run((orm) => requestSync(orm, [...calico.customerIds], 'full', 'manual'));
    note(life, 'a full sync of all');
    await untilAtRest(life);
    if ((await bringCredentials(life)) === 0 && rows.length === 0) break;
  }
}

/** To those who were stopped; returns how many. That each was stopped for a reason is the oracle's. */
async function bringCredentials(life: Life): Promise<number> {
  const stopped = await notActive(life);
  for (const customerId of stopped) {
    note(life, `${customerId} is stopped: new credentials`);
    await giveCredentials(life, customerId);
    await life.stage.db.transaction(({ orm }) => resumeCustomer(orm, customerId));
  }
  return stopped.length;
}

async function notActive({ stage }: Life): Promise<string[]> {
  const { rows } = await stage.pool.query<{ customer_id: string }>(
    "SELECT customer_id FROM calico.customers WHERE status <> 'active' ORDER BY 1",
  );
  return rows.map(({ customer_id }) => customer_id);
}

/** Until nobody is due for what was under way: whoever is not, waits for a time, and the clock is set to it. */
async function untilAtRest(life: Life): Promise<void> {
  const { stage } = life;
  while (life.turns < MOST_TURNS) {
    await engage(life, 100);
    const { rows } = await stage.pool.query<{ due_ms: number | null }>({
      name: 'next_due',
      text: `SELECT (extract(epoch FROM min(greatest(next_sync_at, not_before, lease_until,
         (SELECT until FROM calico.fleet_pause WHERE opened_at IS NULL)))) * 1000)::float8 AS due_ms
       FROM calico.customers c WHERE status = 'active' AND (lease_until IS NOT NULL OR requested_trigger IS NOT NULL
         OR next_sync_at <= now() OR last_success_at IS NULL AND NOT EXISTS (SELECT FROM calico.sync_runs WHERE customer_id = c.customer_id)
         OR EXISTS (SELECT FROM calico.sync_runs r WHERE r.customer_id = c.customer_id AND status IN ('running', 'waiting')))`,
    });
    const due = rows[0]?.due_ms ?? null;
    if (due === null) return;
    if (due > stage.clock.now()) {
      await stage.clock.set(Math.ceil(due) + 1);
      note(life, 'clock: to the next that waits');
    }
  }
  life.faults.push(`not at rest after ${MOST_TURNS} turns`);
}
