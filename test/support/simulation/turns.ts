/** Workers: who gets a job, who goes on, and what goes wrong at the gate where one stands. */
import { listDueCustomers } from '../../../src/db/customers.ts';
import { type Draw, pick } from '../../../src/sandbox/generate-random.ts';
import { API_ENDPOINTS, apiFault, apiFaultsAt, POSTGRES_FAULTS } from './faults.ts';
import type { Actor, Order } from './scheduler.ts';
import type { Slot } from './stage.ts';
import { count, type Life, note } from './state.ts';
import { LEASE_MS, takeCalmTurn, takeTurn } from './worker.ts';

/** Ticks and gives jobs to workers that have none, with a chance of so many in a hundred each. */
export async function engage(life: Life, chance: number): Promise<void> {
  const { stage, plan, scheduler, queue, draws } = life;
  if (draws.world(100) >= chance) return;
  const due = await stage.db.run((orm) => listDueCustomers(orm, 100));
  // Sorted, for those who are due since the same instant come in any order.
  for (const what of queue.add(due.toSorted())) note(life, `queue: ${what}`);
  const busy = new Set(scheduler.actors().map(({ name }) => name));
  for (const slot of stage.slots.slice(0, plan.workers)) {
    if (busy.has(slot.name)) continue;
    const customerId = queue.take();
    if (customerId !== null) await startTurn(life, slot, customerId);
  }
}

async function startTurn(life: Life, slot: Slot, customerId: string): Promise<void> {
  const { stage, plan, scheduler, oracle, queue, draws } = life;
  const began = ++life.step;
  life.turns++;
  oracle.turnBegins(customerId, began);
  note(life, `${slot.name} takes ${customerId}`);
  const options = {
    ...{
      stage,
      slot,
      scheduler,
      draw: draws.workers,
      settings: { pageLimit: plan.pageLimit, slicePages: plan.slicePages },
    },
    onApiFault: (actor: Actor, name: string) => oracle.explain(actor.customerId, apiFault(name).explains),
  };
  const { faultsLeft } = life;
  const beganMs = stage.clock.now();
  await scheduler.start(slot.name, customerId, async (actor) => {
    const outcome = await (life.isCalm ? takeCalmTurn : takeTurn)(options, actor);
    const isDisturbed = life.faultsLeft < faultsLeft || life.operated.has(customerId);
    if (outcome?.kind === 'fenced' && !isDisturbed && stage.clock.now() < beganMs + LEASE_MS)
      life.faults.push(`${customerId}: a second worker was let in while the first had the lease`);
    const what =
      outcome === null ? 'is dead' : outcome.kind === 'done' ? `done, ${outcome.status}` : outcome.kind;
    note(life, `${slot.name} ends with ${customerId}: ${what}`);
    count(life, `turn ${what}`);
    queue.over(customerId);
    life.faults.push(...(await oracle.turnEnds(customerId, began)));
  });
}

/** One actor goes on: mostly the last one. */
export async function goOn(life: Life, orderOf: (actor: Actor) => Order, draw: Draw): Promise<void> {
  const { scheduler, plan } = life;
  const awake = scheduler.ready().filter((one) => (life.stalled.get(one) ?? 0) < life.trace.length);
  // Those who sleep wake up when there is nobody else.
  const ready = awake.length > 0 ? awake : scheduler.ready();
  if (ready.length === 0) return scheduler.untilUnlocked();
  const stays = life.last !== null && ready.includes(life.last) && draw(100) >= plan.change;
  const actor = stays && life.last !== null ? life.last : pick(draw, ready);
  if (actor !== life.last && scheduler.actors().length > 1) count(life, 'switches');
  life.last = actor;
  count(life, 'steps');
  const order = orderOf(actor);
  const how = order.do === 'go' ? '' : ` !${order.do} ${order.do === 'fail' ? order.how : ''}`;
  note(life, `${actor.name} ${actor.at?.kind === 'committed' ? 'has ' : ''}${actor.at?.name}${how}`);
  await scheduler.step(actor, order);
}

/** What goes wrong at the gate where an actor stands. */
export function orderFor(life: Life, { at, customerId, name }: Actor): Order {
  const { plan, draws, oracle } = life;
  const { faults } = plan;
  const draw = draws.faults;
  const happens = (chance: number) => life.faultsLeft > 0 && chance > 0 && draw(1_000) < chance;
  const fail = (how: string): Order => {
    life.faultsLeft--;
    count(life, `fault ${how}`);
    return { do: 'fail', how };
  };
  if (at === null) return { do: 'go' };
  if (happens(faults.death)) {
    life.faultsLeft--;
    count(life, `death at ${at.kind}`);
    oracle.explain(customerId, 'workers died');
    return { do: 'die' };
  }
  if (name === 'operator') return { do: 'go' };
  if (happens(faults.stop)) {
    life.faultsLeft--;
    count(life, 'stop');
    return { do: 'stop' };
  }
  if (at.kind === 'request' && happens(faults.api)) {
    return fail(
      pick(draw, apiFaultsAt(API_ENDPOINTS.find((endpoint) => at.name.startsWith(endpoint)) ?? 'token')),
    );
  }
  if (at.kind === 'committed' && happens(faults.commit)) return failPostgres(['terminate']);
  if (at.kind === 'statement' && happens(faults.postgres * (at.name === 'COMMIT' ? 5 : 1)))
    return failPostgres(POSTGRES_FAULTS);
  return { do: 'go' };

  function failPostgres(how: readonly string[]): Order {
    // A worker whose turn ends without a word is as good as dead to the next.
    oracle.explain(customerId, 'workers died');
    oracle.explain(customerId, 'database');
    return fail(pick(draw, how));
  }
}
