/** Work that goes on beside what follows it: the next page is asked for and read while this one is written. */
import { setImmediate } from 'node:timers/promises';

export type Ahead<Result> = {
  /** Begins now; what is this thread's own work, and keeps from it whatever else there is to do, waits for `turn`. */
  begin: (turn: Promise<void>) => Promise<Result>;
  /** What is more urgent than that work; must resolve, however that goes. */
  after: Promise<void>;
};

export type Begun<Result> = {
  /** What came of it; throws what it threw. */
  result(): Promise<Result>;
  /** Resolves when it is over, however it ended: nobody leaves a request behind, which may be trading tokens. */
  ended: Promise<unknown>;
};

/** Begins work. Passed in, so that a simulation decides what happens first. */
export type Begin = <Result>(ahead: Ahead<Result>) => Promise<Begun<Result>>;

/** Asks at once, and reads when what is more urgent has been handed to the system. */
export const beginAhead: Begin = async ({ begin, after }) => {
  const result = begin(after.then(() => setImmediate())); // what was written to a socket in this turn of the loop is sent at its end
  return { result: () => result, ended: result.catch(() => {}) };
};
