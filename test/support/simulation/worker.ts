/**
 * A worker of the simulation: the real `runSync` at a slot of the stage, with a gate before each statement and request, and
 * after each commit and answer. What the seed orders there happens for real: Postgres refuses, the connection ends, Calico
 * answers something else.
 */
import type { CalicoClient, Request } from '../../../src/calico/client.ts';
import type { Limiter } from '../../../src/calico/limiter.ts';
import type { Database } from '../../../src/db/client.ts';
import type { Connection } from '../../../src/db/statements.ts';
import type { Draw } from '../../../src/sandbox/generate-random.ts';
import { type Begin, beginAhead } from '../../../src/sync/ahead.ts';
import { createFleet } from '../../../src/sync/fleet.ts';
import type { Outcome } from '../../../src/sync/outcome.ts';
import { runSync } from '../../../src/sync/run-sync.ts';
import type { SyncDeps, SyncSettings } from '../../../src/sync/turn.ts';
import { apiFault, refuse } from './faults.ts';
import { OVERLAP_MS } from './oracle.ts';
import type { Actor, GateKind, Order, Scheduler } from './scheduler.ts';
import type { Slot, Stage } from './stage.ts';

/** Of a lease, in milliseconds. */
export const LEASE_MS = 5 * 60_000;

const SETTINGS: SyncSettings = {
  pageLimit: 3,
  slicePages: 50,
  leaseMs: LEASE_MS,
  syncIntervalMs: 60 * 60_000,
  fullSyncIntervalMs: 24 * 60 * 60_000,
  overlapMs: OVERLAP_MS,
  refreshSettleMs: 0,
  maxWaitMs: 6 * 60 * 60_000,
  keepRaw: true,
};

const UNLIMITED: Limiter = { acquire: async (signal) => signal.throwIfAborted() };

type Gates = {
  stage: Stage;
  slot: Slot;
  scheduler: Scheduler;
  actor: Actor;
  /** What `stop` aborts. */
  stopping: AbortController;
  /** Connections with an open transaction. */
  open: Set<Connection>;
};

export type WorkerOptions = {
  stage: Stage;
  slot: Slot;
  scheduler: Scheduler;
  draw: Draw;
  settings: Pick<SyncSettings, 'pageLimit' | 'slicePages'>;
  /** Hears what was done to a request, for what it explains. */
  onApiFault(actor: Actor, name: string): void;
};

/** One turn of a customer's sync at this slot; null where the worker was killed. */
export async function takeTurn(options: WorkerOptions, actor: Actor): Promise<Outcome | null> {
  const stopping = new AbortController();
  const gates: Gates = { ...options, actor, stopping, open: new Set() };
  const client = gatedClient(gates, options.onApiFault);
  const deps = depsOf(options, options.slot.db, client, firstOrLast(options.draw));
  return atGates(gates, async () => {
    const outcome = await runSync(deps, actor.customerId, stopping.signal);
    return actor.dead ? null : outcome;
  });
}

/** The same without gates, as a real worker's: for when nobody else moves and nothing goes wrong. */
export function takeCalmTurn(options: WorkerOptions, { customerId }: Actor): Promise<Outcome> {
  const { db, client } = options.stage;
  return runSync(depsOf(options, db, client, beginAhead), customerId, new AbortController().signal);
}

function depsOf(options: WorkerOptions, db: Database, client: CalicoClient, begin: Begin): SyncDeps {
  const { stage, draw, settings, slot } = options;
  const { keys, log, sandbox } = stage;
  const { now } = stage.clock;
  const random = () => draw(2 ** 32) / 2 ** 32;
  const { maxWaitMs } = SETTINGS;
  return {
    ...{ db, client, begin, keys, log, now, random },
    isAnyoneWaiting: async () => true,
    unheard: slot.unheard,
    settings: { ...SETTINGS, ...settings },
    oauth: { clientId: sandbox.clientId, clientSecret: sandbox.clientSecret },
    fleet: createFleet({ db, limiter: UNLIMITED, log, now, random, maxWaitMs }),
  };
}

/** One step after the other: what is begun is done first, or when its result is needed. */
const firstOrLast =
  (draw: Draw): Begin =>
  async (work) => {
    if (draw(2) === 0) return { goesOn: false, result: work, ended: Promise.resolve() };
    const result = work();
    const ended = result.catch(() => {});
    await ended;
    return { goesOn: false, result: () => result, ended };
  };

/** Any other piece of work on the database, at this slot's gates. */
export async function doAtGates<T>(
  options: Pick<WorkerOptions, 'stage' | 'slot' | 'scheduler'>,
  actor: Actor,
  work: () => Promise<T>,
): Promise<T> {
  return atGates({ ...options, actor, stopping: new AbortController(), open: new Set() }, work);
}

async function atGates<T>(gates: Gates, work: () => Promise<T>): Promise<T> {
  const { slot } = gates;
  slot.onStatement = (moment, connection) => passStatement(gates, moment, connection);
  try {
    return await work();
  } finally {
    slot.onStatement = null;
  }
}

async function passStatement(gates: Gates, moment: string, connection: Connection): Promise<void> {
  const { actor, open } = gates;
  const [, statement = '', when] = /^(.*):(before|after)$/.exec(moment) ?? [];
  const ends = statement === 'COMMIT' || statement === 'ROLLBACK';
  if (ends && (when === 'after' || statement === 'ROLLBACK')) open.delete(connection);
  if (actor.dead) throw killed();
  if (when === 'after' ? statement !== 'COMMIT' : statement === 'ROLLBACK') return;
  const order = await pass(gates, when === 'after' ? 'committed' : 'statement', statement);
  if (order.do === 'fail')
    await (order.how === 'terminate' ? terminate(gates, connection) : refuse(connection, order.how));
  if (statement === 'BEGIN') open.add(connection);
}

/** Stands at the gate; what concerns the worker as a whole is done here. */
async function pass(gates: Gates, kind: GateKind, name: string): Promise<Order> {
  const { actor, scheduler, stopping } = gates;
  const order = await scheduler.gate(actor, kind, name);
  if (order.do === 'stop') stopping.abort();
  if (order.do === 'die') await die(gates);
  return order;
}

/** As SIGKILL: Postgres ends its transactions, and nothing that it still does reaches the outside. */
async function die(gates: Gates): Promise<never> {
  gates.actor.dead = true;
  for (const connection of gates.open) await terminate(gates, connection).catch(() => {});
  throw killed();
}

function killed(): Error {
  return Object.assign(new Error('the worker was killed'), { code: 'ECONNRESET' });
}

/** Ends the connection's backend. Resolves never; throws what `pg` makes of it, once its locks are free. */
async function terminate({ stage, open }: Gates, connection: Connection): Promise<never> {
  const { rows } = (await connection.query('SELECT pg_backend_pid() AS pid')) as { rows: { pid: number }[] };
  let error: unknown = new Error('the connection outlived its end');
  await connection.query('SELECT pg_terminate_backend(pg_backend_pid())').catch((cause: unknown) => {
    error = cause;
  });
  open.delete(connection);
  // Over when the process is gone: until then its locks may be held.
  await stage.pool.query(
    `SET client_min_messages = 'error'; SELECT pg_terminate_backend(${rows[0]?.pid}, 5000)`,
  );
  throw error;
}

function gatedClient(gates: Gates, onApiFault: WorkerOptions['onApiFault']): CalicoClient {
  const { stage, actor } = gates;
  return {
    send: async (request) => {
      if (actor.dead) throw killed();
      const order = await pass(gates, 'request', nameOf(request));
      if (order.do !== 'fail') return answered(stage.client.send(request));
      const { answer } = apiFault(order.how);
      onApiFault(actor, order.how);
      const fault = stage.sandbox.faults.add({ answer, times: Number.POSITIVE_INFINITY });
      const client = order.how === 'silence' ? stage.hasty : stage.client;
      return answered(client.send(request).finally(() => fault.remove()));
    },
  };

  async function answered<T>(answer: Promise<T>): Promise<T> {
    const result = await answer.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    if (actor.dead) throw killed();
    await pass(gates, 'answer', 'error' in result ? 'a failure' : 'an answer');
    if ('error' in result) throw result.error;
    return result.value;
  }
}

function nameOf({ endpoint, query }: Request): string {
  const where = query?.['cursor'] ? ', a later page' : '';
  return `${endpoint}${query?.['start_time'] ? ', a window' : ''}${where}`;
}
