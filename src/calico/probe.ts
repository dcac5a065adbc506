/** Does anybody answer at an address at all? Sends no token. */
import { describeBroken } from './client.ts';
import { ENDPOINTS } from './contract.ts';

/** `aheadMs`: how far the server's clock is ahead of ours by its Date header (whole seconds), null where it has none. */
export type Probed = { status: number; aheadMs: number | null } | { problem: string };

/** Where Calico's API is asked without a token: it must refuse, and that is an answer. */
export function probeUrl(apiUrl: string): string {
  return apiUrl.replace(/\/$/, '') + ENDPOINTS.assets.path;
}

/** One GET, not redirected. */
export async function probe(url: string, timeoutMs: number, now: () => number): Promise<Probed> {
  const began = now();
  try {
    const response = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) });
    const middle = (began + now()) / 2;
    await response.body?.cancel();
    const date = Date.parse(response.headers.get('date') ?? '');
    // The header is cut to the second: half of one is what it lacks on average.
    return { status: response.status, aheadMs: Number.isNaN(date) ? null : date + 500 - middle };
  } catch (error) {
    return { problem: describeBroken(error) };
  }
}
