/**
 * One seed from beginning to end: trouble with several workers under way, then all is well, everybody is synced, and Postgres
 * must be as Calico is. Everything that happens is in the trace; the same seed has the same trace, byte for byte.
 */
import { drawsFrom } from '../../../src/sandbox/generate-random.ts';
import { createCalico } from './calico.ts';
import { changeSomething, giveCredentials, passTime, somethingHappens } from './happenings.ts';
import { createOracle } from './oracle.ts';
import { drawPlan, MOST_FAULTS } from './plan.ts';
import { createQueue } from './queue.ts';
import { recovery } from './recovery.ts';
import { createScheduler } from './scheduler.ts';
import type { Stage } from './stage.ts';
import { count, type Life, PURPOSE } from './state.ts';
import { engage, goOn, orderFor } from './turns.ts';

export type Verdict = {
  seed: number;
  /** What broke a promise, a line each; empty where nothing did. */
  faults: string[];
  trace: readonly string[];
  /** What happened, for whoever wants to know that all of it does. */
  tally: Record<string, number>;
};

const START_MS = Date.UTC(2026, 2, 1);
/** Times that nobody is at work before a seed's trouble is over: its customers may all be stopped. */
const MOST_IDLE = 8;

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
  const calico = createCalico({
    data: stage.data,
    draw: draws.data,
    customerIds,
    nowMs: START_MS,
    restless: plan.restless,
  });
  const life: Life = {
    ...{ stage, plan, calico, draws, faults: [], tally: {} },
    trace: [`seed ${seed}: ${JSON.stringify(plan)}`],
    ...{
      step: 1,
      turns: 0,
      isCalm: false,
      faultsLeft: MOST_FAULTS,
      last: null,
      ups: new Map(),
      stalled: new Map(),
      operated: new Set(),
    },
    oracle: createOracle(stage.pool, calico),
    queue: createQueue(draws.queue, plan.queue),
    scheduler: createScheduler(stage.countLockWaits),
  };
  for (const customerId of customerIds) {
    // Cursors end too: twice in a run they are a refused request.
    life.oracle.explain(customerId, '400');
    await giveCredentials(life, customerId);
  }
  return life;
}

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
