import type { ProviderError } from '../calico/contract.ts';

/** A 206 that names nobody is somebody all the same. */
export const UNNAMED = '(not named)';

/** Who was missing from an answer, by provider id, and why; empty where it was whole. */
export function downIn(answer: { partial: boolean; errors: readonly ProviderError[] }): Map<string, string> {
  if (!answer.partial) return new Map();
  if (answer.errors.length === 0) return new Map([[UNNAMED, 'not said']]);
  return new Map(answer.errors.map(({ providerId, cause }) => [providerId ?? UNNAMED, cause]));
}

export function union(known: readonly string[], more: Iterable<string>): string[] {
  return [...new Set([...known, ...more])];
}
