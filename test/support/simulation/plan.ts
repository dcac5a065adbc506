/** What a seed is about: how many customers, which troubles and how often. Each seed has some kinds of trouble, few have all. */
import type { Draw } from '../../../src/sandbox/generate-random.ts';

export type Plan = {
  customers: number;
  workers: number;
  /** Turns that begin while there is trouble. */
  turns: number;
  /** Pages a turn. */
  slicePages: number;
  /** Records a page. */
  pageLimit: number;
  /** How often another than the last one goes on, of a hundred times. */
  change: number;
  /** What goes wrong of a thousand requests, statements, commits (whose worker does not hear of it), and gates of any kind. */
  faults: { api: number; postgres: number; commit: number; death: number; stop: number };
  /** Of a thousand steps while somebody moves. */
  perMille: { data: number; clock: number; stall: number; down: number; tokens: number; operator: number };
  queue: { lose: number; double: number; delay: number };
  /** Is it all about records that change their places while everything is read? */
  restless: boolean;
  /** Is everything readable at the end? */
  mends: boolean;
};

/** One customer whose passes are whole, so that records can move under them. */
const CALM = {
  customers: 1,
  slicePages: 50,
  faults: { api: 0, postgres: 0, commit: 0, death: 0, stop: 0 },
  perMille: { data: 0, clock: 0, stall: 0, down: 0, tokens: 0, operator: 0 },
  queue: { lose: 0, double: 0, delay: 0 },
} satisfies Partial<Plan>;

/** More faults than this make a seed no better, only longer. */
export const MOST_FAULTS = 6;

/** Draws a plan. */
export function drawPlan(draw: Draw): Plan {
  const has = (oneIn: number) => draw(oneIn) === 0;
  const some = (oneIn: number, chance: number) => (has(oneIn) ? 1 + draw(chance) : 0);
  const plan: Plan = {
    customers: 1 + (has(3) ? 1 : 0) + (has(12) ? 1 : 0),
    workers: has(4) ? 1 : 2 + draw(2),
    turns: 2 + draw(3),
    slicePages: has(3) ? 2 : 50,
    pageLimit: has(3) ? 2 : 3,
    change: 5 + draw(40),
    faults: {
      api: has(2) ? 50 + draw(250) : 0,
      postgres: some(3, 12),
      commit: some(4, 100),
      death: some(3, 8),
      stop: some(6, 4),
    },
    perMille: {
      data: some(2, 60),
      clock: some(2, 12),
      stall: some(3, 20),
      down: some(4, 15),
      tokens: some(4, 12),
      operator: some(4, 10),
    },
    queue: { lose: some(3, 30), double: some(3, 50), delay: some(3, 30) },
    restless: has(6),
    mends: has(2),
  };
  // Often enough that one is missed within 100 seeds where a first load is taken for proven by its first page.
  return plan.restless ? { ...plan, ...CALM, turns: 4, perMille: { ...CALM.perMille, data: 20 } } : plan;
}
