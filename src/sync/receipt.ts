import type { Ending, Receipt } from '../db/runs.ts';
import type { StreamName } from '../db/schema-sync.ts';

/** What a run that walked all its pages has to answer for. */
export type Account = {
  receipts: readonly Receipt[];
  expected: readonly StreamName[];
  providersDown: readonly string[];
};

/** How a run that walked all its pages ends. */
export type Verdict = Ending & { status: 'succeeded' | 'partial' | 'failed' };

/**
 * Judges a run by its receipts (promise 3): green only where every stream reached its end, everything fetched is
 * accounted for, nothing was set aside or held back, no provider was missing and the pages stood still.
 */
export function judge({ receipts, expected, providersDown }: Account): Verdict {
  const complete = expected.every((name) =>
    receipts.some((receipt) => receipt.stream === name && receipt.complete),
  );
  const ending = { stop: null, followUp: false, complete } as const;
  const unbalanced = receipts.filter((receipt) => !receipt.balanced).map(({ stream }) => stream);
  if (!complete) return { ...ending, status: 'failed', reason: 'a stream did not reach its end' };
  if (unbalanced.length > 0) {
    return {
      ...ending,
      complete: false, // it proves nothing
      status: 'failed',
      reason: `the receipt of ${unbalanced.join(' and ')} does not balance`,
    };
  }
  const quarantined = receipts.reduce((sum, receipt) => sum + receipt.quarantined, 0);
  const held = receipts.reduce((sum, receipt) => sum + receipt.held, 0);
  const moving = receipts.filter((receipt) => receipt.moving).map(({ stream }) => stream);
  const reasons = [
    ...(providersDown.length > 0 ? [`providers down: ${providersDown.join(', ')}`] : []),
    ...(quarantined > 0 ? [`${several(quarantined, 'record')} quarantined`] : []),
    ...(held > 0 ? [`${several(held, 'removal')} held: calico-sync removals list`] : []),
    ...(moving.length > 0 ? [`${moving.join(' and ')} kept moving at Calico while they were read`] : []),
  ];
  if (reasons.length === 0) return { ...ending, status: 'succeeded', reason: null };
  const followUp = providersDown.length > 0 || moving.length > 0;
  return { ...ending, status: 'partial', reason: reasons.join('; '), followUp, moving: moving.length > 0 };
}

function several(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
