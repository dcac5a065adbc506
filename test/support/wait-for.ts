import { inspect } from 'node:util';

export interface WaitOptions<T> {
  /** What is awaited, for the error: "the lease of customer 7 to expire". */
  describe: string;
  timeoutMs?: number;
  /** The value is good when this says so; by default when it is truthy. */
  until?: (value: T) => boolean;
}

/** Short enough that no test waits noticeably longer than what it waits for takes. */
const INTERVAL_MS = 10;

/**
 * Asks again and again until the condition's value is good, and returns that value. The only waiting that tests do:
 * a fixed sleep is too long on one machine and too short on another.
 * A condition that throws has not come true yet. The error says what was awaited and what was seen last.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { describe, timeoutMs = 20_000, until = Boolean }: WaitOptions<T>,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const seen = await observe(condition);
    if ('value' in seen && until(seen.value)) return seen.value;
    if (performance.now() >= deadline) {
      const last = 'value' in seen ? inspect(seen.value, { depth: 4 }) : `the error ${inspect(seen.error)}`;
      throw new Error(`waited ${timeoutMs} ms for ${describe}; last seen: ${last}`);
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

async function observe<T>(condition: () => T | Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await condition() };
  } catch (error) {
    return { error };
  }
}
