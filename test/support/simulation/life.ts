/**
 * One seed from beginning to end: trouble with several workers under way, then all is well, everybody is synced, and Postgres
 * must be as Calico is. Everything that happens is in the trace; the same seed has the same trace, byte for byte.
 */
import { saveCredentials } from '../../../src/db/credentials.ts';
import {
  addCustomer,
  listDueCustomers,
  pauseCustomer,
  requestSync,
  resumeCustomer,
} from '../../../src/db/customers.ts';
import { type Draw, drawsFrom, pick } from '../../../src/sandbox/generate-random.ts';
import { type Calico, createCalico, FRAIL } from './calico.ts';
import { API_ENDPOINTS, apiFault, apiFaultsAt, POSTGRES_FAULTS } from './faults.ts';
import { createOracle, type Oracle } from './oracle.ts';
import { drawPlan, MOST_FAULTS, type Plan } from './plan.ts';
import { createQueue, type SimulatedQueue } from './queue.ts';
import { type Actor, createScheduler, type Order, type Scheduler } from './scheduler.ts';
import type { Slot, Stage } from './stage.ts';
import { doAtGates, takeTurn } from './worker.ts';

export type Verdict = {
  seed: number;
  /** What broke a promise, a line each; empty where nothing did. */
  faults: string[];
  trace: readonly string[];
  /** What happened, for whoever wants to know that all of it does. */
  tally: Record<string, number>;
};

const START_MS = Date.UTC(2026, 2, 1);
const MINUTE_MS = 60_000;
/** Each purpose draws from its own stream, so that a change to one leaves the others as they were. */
const PURPOSE = { plan: 1, data: 2, schedule: 3, faults: 4, world: 5, queue: 6, workers: 7 } as const;
/** Turns after which everybody must be at rest: a customer has no more than 8 tries at anything. */
const MOST_TURNS = 80;
/** Times that nobody is at work before a seed's trouble is over: its customers may all be stopped. */
const MOST_IDLE = 8;

type Life = {
  stage: Stage;
  plan: Plan;
  calico: Calico;
  oracle: Oracle;
  queue: SimulatedQueue;
  scheduler: Scheduler;
  draws: Record<keyof typeof PURPOSE, Draw>;
  faults: string[];
  trace: string[];
  tally: Record<string, number>;
  step: number;
  turns: number;
  faultsLeft: number;
  last: Actor | null;
};

/** Plays a seed on the stage. */
export async function live(stage: Stage, seed: number): Promise<Verdict> {
  const life = await begin(stage, seed);
  await trouble(life);
  await recovery(life);
  life.faults.push(...(await life.oracle.atTheEnd()), ...(await secrets(life, seed)));
  for (const [status, runs] of Object.entries(life.oracle.tally)) count(life, `run ${status}`, runs);
  const { faults, trace, tally } = life;
  return { seed, faults, trace: [...trace, ...faults.map((fault) => `FAULT ${fault}`)], tally };
}

async function begin(stage: Stage, seed: number): Promise<Life> {
  await stage.clear(START_MS);
  const draws = Object.fromEntries(
    Object.entries(PURPOSE).map(([name, purpose]) => [name, drawsFrom(seed, purpose)]),
  ) as Life['draws'];
  const plan = drawPlan(draws.plan);
  const customerIds = Array.from({ length: plan.customers }, (_none, index) => `c${index + 1}`);
  const calico = createCalico({ data: stage.data, draw: draws.data, customerIds, nowMs: START_MS });
  const life: Life = {
    ...{ stage, plan, calico, draws, faults: [], tally: {} },
    trace: [`seed ${seed}: ${JSON.stringify(plan)}`],
    ...{ step: 1, turns: 0, faultsLeft: MOST_FAULTS, last: null },
    oracle: createOracle(stage.pool, calico),
    queue: createQueue(draws.queue, plan.queue),
    scheduler: createScheduler(stage.countLockWaits),
  };
  for (const customerId of customerIds) await giveCredentials(life, customerId);
  return life;
}

// --- trouble ------------------------------------------------------------------------------------------------

async function trouble(life: Life): Promise<void> {
  const { plan, scheduler, draws } = life;
  let idle = 0;
  const isOver = () => life.turns >= plan.turns || idle > MOST_IDLE;
  while (!isOver() || scheduler.actors().length > 0) {
    if (!isOver()) await engage(life, scheduler.actors().length === 0 ? 100 : 4);
    if (scheduler.actors().length === 0) {
      idle++;
      await changeSomething(life);
      await passTime(life);
      continue;
    }
    await somethingHappens(life);
    await goOn(life, (actor) => orderFor(life, actor), draws.schedule);
  }
}

/** Ticks and gives jobs to workers that have none, with a chance of so many in a hundred each. */
async function engage(life: Life, chance: number): Promise<void> {
  const { stage, plan, scheduler, queue, draws } = life;
  if (draws.world(100) >= chance) return;
  const due = await stage.db.run((orm) => listDueCustomers(orm, 100));
  for (const what of queue.add(due)) note(life, `queue: ${what}`);
  const busy = new Set(scheduler.actors().map(({ name }) => name));
  for (const slot of stage.slots.slice(0, plan.workers)) {
    if (busy.has(slot.name)) continue;
    const customerId = queue.take();
    if (customerId !== null) await startTurn(life, slot, customerId);
  }
}

async function startTurn(life: Life, slot: Slot, customerId: string): Promise<void> {
  const { stage, scheduler, oracle, queue, draws } = life;
  const began = ++life.step;
  life.turns++;
  oracle.turnBegins(customerId, began);
  note(life, `${slot.name} takes ${customerId}`);
  const options = {
    ...{ stage, slot, scheduler, draw: draws.workers, slicePages: life.plan.slicePages },
    onApiFault: (actor: Actor, name: string) => oracle.explain(actor.customerId, apiFault(name).explains),
  };
  await scheduler.start(slot.name, customerId, async (actor) => {
    const outcome = await takeTurn(options, actor);
    const what =
      outcome === null ? 'is dead' : outcome.kind === 'done' ? `done, ${outcome.status}` : outcome.kind;
    note(life, `${slot.name} ends with ${customerId}: ${what}`);
    count(life, `turn ${what}`);
    queue.over(customerId);
    life.faults.push(...(await oracle.turnEnds(customerId, began)));
  });
}

/** One actor goes on: mostly the last one. */
async function goOn(life: Life, orderOf: (actor: Actor) => Order, draw: Draw): Promise<void> {
  const { scheduler, plan } = life;
  const ready = scheduler.ready();
  if (ready.length === 0) return scheduler.untilUnlocked();
  const stays = life.last !== null && ready.includes(life.last) && draw(100) >= plan.chances.change;
  const actor = stays && life.last !== null ? life.last : pick(draw, ready);
  if (actor !== life.last && scheduler.actors().length > 1) count(life, 'switches');
  life.last = actor;
  const order = orderOf(actor);
  const how = order.do === 'go' ? '' : ` !${order.do} ${order.do === 'fail' ? order.how : ''}`;
  note(life, `${actor.name} ${actor.at?.kind === 'committed' ? 'has ' : ''}${actor.at?.name}${how}`);
  await scheduler.step(actor, order);
}

/** What goes wrong at the gate where an actor stands. */
function orderFor(life: Life, { at, customerId, name }: Actor): Order {
  const { plan, draws, oracle } = life;
  const { chances } = plan;
  const draw = draws.faults;
  const happens = (chance: number) => life.faultsLeft > 0 && chance > 0 && draw(1_000) < chance;
  const fail = (how: string): Order => {
    life.faultsLeft--;
    count(life, `fault ${how}`);
    return { do: 'fail', how };
  };
  if (at === null) return { do: 'go' };
  if (happens(chances.death)) {
    life.faultsLeft--;
    count(life, `death at ${at.kind}`);
    oracle.explain(customerId, 'workers died');
    return { do: 'die' };
  }
  if (name === 'operator') return { do: 'go' };
  if (happens(chances.stop)) {
    life.faultsLeft--;
    count(life, 'stop');
    return { do: 'stop' };
  }
  if (at.kind === 'request' && happens(chances.api * 10)) {
    return fail(
      pick(draw, apiFaultsAt(API_ENDPOINTS.find((endpoint) => at.name.startsWith(endpoint)) ?? 'token')),
    );
  }
  if (at.kind === 'committed' && happens(chances.commit * 10)) return failPostgres(['terminate']);
  if (at.kind === 'statement' && happens(chances.postgres * 4)) return failPostgres(POSTGRES_FAULTS);
  return { do: 'go' };

  function failPostgres(how: readonly string[]): Order {
    // A worker whose turn ends without a word is as good as dead to the next.
    oracle.explain(customerId, 'workers died');
    oracle.explain(customerId, 'database');
    return fail(pick(draw, how));
  }
}

/** What happens beside the workers, between two of their steps. */
async function somethingHappens(life: Life): Promise<void> {
  const { plan, draws, calico, scheduler } = life;
  const { perMille } = plan;
  const draw = draws.world;
  const happens = (chance: number) => chance > 0 && draw(1_000) < chance;
  const customerId = pick(draw, calico.customerIds);
  if (happens(perMille.data)) await changeData(life, customerId);
  if (happens(perMille.down)) turnProvider(life, customerId);
  if (happens(perMille.tokens)) endTokens(life, customerId, draw(4) === 0);
  if (happens(perMille.clock)) await passTime(life);
  const isFree = scheduler.actors().every(({ name }) => name !== 'operator');
  if (isFree && happens(perMille.operator)) await operate(life, customerId);
}

/** Between two turns: some changes, and somebody asks for a sync. */
async function changeSomething(life: Life): Promise<void> {
  const { draws, calico, stage } = life;
  const draw = draws.world;
  for (let left = draw(4); left > 0; left--) await changeData(life, pick(draw, calico.customerIds));
  if (draw(3) > 0) return;
  const mode = draw(3) === 0 ? 'incremental' : 'full';
  const asked = await stage.db.run((orm) => requestSync(orm, [...calico.customerIds], mode, 'manual'));
  note(life, `asked for: ${mode} of ${asked.join(' ')}`);
}

async function changeData(life: Life, customerId: string): Promise<void> {
  note(life, `calico: ${life.calico.change(customerId, ++life.step)}`);
  count(life, 'data');
}

function turnProvider({ calico, stage, ...life }: Life, customerId: string): void {
  const isDown = !calico.isDown(customerId);
  calico.setDown(customerId, isDown);
  downRules.get(stage)?.get(customerId)?.();
  life.trace.push(`-- ${FRAIL} of ${customerId} is ${isDown ? 'down' : 'up'}`);
  const rules = downRules.get(stage) ?? new Map<string, () => void>();
  downRules.set(stage, rules);
  if (!isDown) return void rules.delete(customerId);
  const partial = [{ provider_id: FRAIL, cause: 'maintenance' }];
  const rule = stage.sandbox.faults.add({ customerId, times: Number.POSITIVE_INFINITY, answer: { partial } });
  rules.set(customerId, () => rule.remove());
}

/** How a provider's 206 ends, by stage and customer. */
const downRules = new WeakMap<Stage, Map<string, () => void>>();

function endTokens({ stage, oracle, trace }: Life, customerId: string, forGood: boolean): void {
  trace.push(`-- the tokens of ${customerId} end${forGood ? ' for good' : ''}`);
  // A token that ends as soon as it was refreshed is a second 401.
  oracle.explain(customerId, '401');
  if (!forGood) return stage.sandbox.tokens.expireAccessTokens(customerId);
  stage.sandbox.tokens.revoke(customerId);
  oracle.explain(customerId, '603');
}

/** The clock goes on by seconds, minutes or hours: waits end, leases run out under those who hold them. */
async function passTime(life: Life): Promise<void> {
  const { stage, draws } = life;
  const draw = draws.world;
  const ms = pick(draw, [5_000, 30_000, 3 * MINUTE_MS, 10 * MINUTE_MS, 70 * MINUTE_MS, 25 * 60 * MINUTE_MS]);
  await stage.clock.advance(ms);
  count(life, 'clock');
  note(life, `clock: ${ms / 1_000} s later`);
}

/** A person: pauses, resumes, brings new credentials, asks for a sync. Waits for locks as everybody does. */
async function operate(life: Life, customerId: string): Promise<void> {
  const { stage, scheduler, draws } = life;
  const slot = stage.slots.find(({ name }) => name === 'operator');
  if (!slot) return;
  const { db } = slot;
  const acts: [string, () => Promise<unknown>][] = [
    ['pauses', () => db.run((orm) => pauseCustomer(orm, customerId, 'the simulation'))],
    ['resumes', () => db.transaction(({ orm }) => resumeCustomer(orm, customerId))],
    ['asks for', () => db.run((orm) => requestSync(orm, [customerId], 'full', 'manual'))],
    ['brings credentials of', () => giveCredentials(life, customerId, db)],
  ];
  const [what, act] = pick(draws.world, acts);
  note(life, `operator ${what} ${customerId}`);
  count(life, `operator ${what}`);
  await scheduler.start(slot.name, customerId, async (actor) => {
    await doAtGates({ stage, slot, scheduler }, actor, act).catch((error: unknown) => {
      if (!actor.dead) throw error;
    });
  });
}

async function giveCredentials({ stage }: Life, customerId: string, db = stage.db): Promise<void> {
  const tokens = stage.sandbox.issueTokens(customerId);
  await db.transaction(async ({ orm }) => {
    await addCustomer(orm, customerId, null);
    await saveCredentials(orm, stage.keys, customerId, {
      accessToken: tokens.access_token,
      refreshToken: tokens.refresh_token,
      accessExpiresAt: new Date(stage.clock.now() + tokens.expires_in * 1_000),
      refreshExpiresAt: new Date(stage.clock.now() + 365 * 24 * 60 * MINUTE_MS),
    });
  });
}

// --- and then all is well ------------------------------------------------------------------------------------

async function recovery(life: Life): Promise<void> {
  const { calico, stage, plan, queue } = life;
  note(life, 'all is well');
  life.plan = { ...plan, workers: 1 };
  life.turns = 0;
  queue.heal();
  for (const customerId of calico.customerIds) {
    if (calico.isDown(customerId)) turnProvider(life, customerId);
    if (plan.mends) calico.mend(customerId, ++life.step);
  }
  await untilAtRest(life);
  for (const customerId of await notActive(life)) {
    note(life, `${customerId} is stopped: new credentials`);
    await giveCredentials(life, customerId);
    await stage.db.transaction(({ orm }) => resumeCustomer(orm, customerId));
  }
  // A pass that an earlier run began proves nothing of what is gone: one more, from its first page.
  for (let passes = 0; passes < 2; passes++) {
    const { rows } = await stage.pool.query('SELECT FROM calico.checkpoints WHERE pass_run_id IS NOT NULL');
    await stage.db.run((orm) => requestSync(orm, [...calico.customerIds], 'full', 'manual'));
    note(life, 'a full sync of all');
    await untilAtRest(life);
    if (rows.length === 0) break;
  }
}

async function notActive({ stage }: Life): Promise<string[]> {
  const { rows } = await stage.pool.query<{ customer_id: string }>(
    "SELECT customer_id FROM calico.customers WHERE status <> 'active' ORDER BY 1",
  );
  return rows.map(({ customer_id }) => customer_id);
}

/** Until nobody is due for what was under way: whoever is not, waits for a time, and the clock is set to it. */
async function untilAtRest(life: Life): Promise<void> {
  const { stage, scheduler, draws } = life;
  while (life.turns < MOST_TURNS) {
    await engage(life, 100);
    while (scheduler.actors().length > 0) await goOn(life, () => ({ do: 'go' }), draws.schedule);
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

/** Tokens belong into one table, sealed, and nowhere else. All tables are looked at in one seed of ten: it takes a while. */
async function secrets({ stage }: Life, seed: number): Promise<string[]> {
  const isSecret = /sandbox-(access|refresh)-|sandbox-secret/;
  const lines = stage.logged.filter((line) => isSecret.test(line)).map(() => 'a secret in a log line');
  if (seed % 10 > 0) return lines;
  const { rows } = await stage.pool.query<{ fault: string }>(
    [
      'sync_runs',
      'dead_letters',
      'quarantined_records',
      'event_outbox',
      'contract_drift',
      'fleet_pause',
      'customers',
    ]
      .map(
        (table) =>
          `SELECT 'a secret in ${table}' AS fault FROM calico.${table} t WHERE t::text ~ '${isSecret.source}'`,
      )
      .join(' UNION ALL '),
  );
  return [...lines, ...rows.map(({ fault }) => fault)];
}

function note({ trace }: Life, what: string): void {
  trace.push(what);
}

function count({ tally }: Life, what: string, times = 1): void {
  tally[what] = (tally[what] ?? 0) + times;
}
