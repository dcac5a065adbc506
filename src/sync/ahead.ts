/** Work that goes on beside what follows it: the next page is asked for and read while this one is written. */
import { setImmediate } from 'node:timers/promises';

export type Ahead<Fetched, Read> = {
  /** Begins now. */
  fetch: () => Promise<Fetched>;
  /** Makes of it what is wanted. It is this thread's work, and keeps from it whatever else there is to do. */
  read: (fetched: Fetched) => Read;
  /** What is more urgent than reading; must resolve, however that goes. */
  after: Promise<void>;
};

export type Begun<Read> = {
  /** What came of it; throws what it threw. */
  result(): Promise<Read>;
  /** Resolves when it is over, however it ended: nobody leaves a request behind, which may be trading tokens. */
  ended: Promise<unknown>;
};

/** Begins work. Passed in, so that a simulation decides what happens first. */
export type Begin = <Fetched, Read>(ahead: Ahead<Fetched, Read>) => Promise<Begun<Read>>;

/** Fetches at once, and reads when what is more urgent has been handed to the system. */
export const beginAhead: Begin = async ({ fetch, read, after }) => {
  const result = fetch().then(async (fetched) => {
    await after;
    await setImmediate(); // what was written to a socket in this turn of the loop is sent at its end
    return read(fetched);
  });
  return { result: () => result, ended: result.catch(() => {}) };
};
