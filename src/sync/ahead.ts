/** Work that goes on beside what follows it: the next page is asked for while this one is written. */

export type Begun<T> = {
  /** What came of it; throws what it threw. */
  result(): Promise<T>;
  /** Resolves when it is over, however it ended: nobody leaves a request behind, which may be trading tokens. */
  ended: Promise<unknown>;
};

/** Begins work. Passed in, so that a simulation decides what happens first. */
export type Begin = <T>(work: () => Promise<T>) => Promise<Begun<T>>;

/** Begins it at once. */
export const beginAhead: Begin = async (work) => {
  const result = work();
  return { result: () => result, ended: result.catch(() => {}) };
};
