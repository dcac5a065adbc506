/** Work that goes on beside what follows it: the next page is asked for while this one is read and written. */

export type Begun<Result> = {
  /** Does it go on beside what follows? */
  goesOn: boolean;
  /** What came of it; throws what it threw. */
  result(): Promise<Result>;
  /** Resolves when it is over, however it ended: nobody leaves a request behind, which may be trading tokens. */
  ended: Promise<unknown>;
};

/** Begins work. Passed in, so that a simulation decides what happens first. */
export type Begin = <Result>(work: () => Promise<Result>) => Promise<Begun<Result>>;

/** Begins at once. */
export const beginAhead: Begin = async (work) => {
  const result = work();
  return { goesOn: true, result: () => result, ended: result.catch(() => {}) };
};
