/** What a seed's life consists of while it lasts. */
import type { Draw } from '../../../src/sandbox/generate-random.ts';
import type { Calico } from './calico.ts';
import type { Oracle } from './oracle.ts';
import type { Plan } from './plan.ts';
import type { SimulatedQueue } from './queue.ts';
import type { Actor, Scheduler } from './scheduler.ts';
import type { Stage } from './stage.ts';

/** Each purpose draws from its own stream, so that a change to one leaves the others as they were. */
export const PURPOSE = { plan: 1, data: 2, schedule: 3, faults: 4, world: 5, queue: 6, workers: 7 } as const;

export type Life = {
  stage: Stage;
  plan: Plan;
  calico: Calico;
  oracle: Oracle;
  queue: SimulatedQueue;
  scheduler: Scheduler;
  draws: Record<keyof typeof PURPOSE, Draw>;
  /** What broke a promise, a line each. */
  faults: string[];
  trace: string[];
  /** How often what happened. */
  tally: Record<string, number>;
  /** Rises with each change at Calico and each turn: tells which came first. */
  step: number;
  turns: number;
  /** Is all trouble over? */
  isCalm: boolean;
  /** How much may still go wrong. */
  faultsLeft: number;
  /** Who went on last. */
  last: Actor | null;
  /** Workers that were stopped in their tracks, and the step of the trace before which they do not go on. */
  stalled: Map<Actor, number>;
  /** Customers whom a person has paused, resumed or given new tokens. */
  operated: Set<string>;
  /** How the 206 of a provider that is down ends, by customer. */
  ups: Map<string, () => void>;
};

/** A line of the trace. */
export function note({ trace }: Life, what: string): void {
  trace.push(what);
}

/** Adds to the tally. */
export function count({ tally }: Life, what: string, times = 1): void {
  tally[what] = (tally[what] ?? 0) + times;
}
