import type { CalicoClient } from '../calico/client.ts';
import { type OAuthClient, refreshTokens } from '../calico/tokens.ts';
import type { Database } from '../db/client.ts';
import {
  type Credentials,
  lockCredentials,
  readCredentials,
  saveCredentials,
  stayThroughTrade,
} from '../db/credentials.ts';
import type { KeyRing } from '../db/vault.ts';

export type TokenSource = {
  db: Database;
  client: CalicoClient;
  oauth: OAuthClient;
  keys: KeyRing;
  now: () => number;
};

/** Refreshed this long before the end, so that a page that is asked for now is not answered too late. */
const REFRESH_AHEAD_MS = 60_000;

/**
 * How long a token request outlives a stop: it may have spent the refresh token already, and the answer that nobody waits
 * for has the only one that is still good. Less than the ten seconds in which a worker has to end.
 */
const GRACE_MS = 5_000;

/** `usableUntilMs`: ask again from then on. `refreshed`: it came from the token endpoint just now. */
export type AccessToken = { token: string; usableUntilMs: number; refreshed: boolean };

/** There are no tokens for this customer: nothing can be asked in its name. */
export class NoCredentialsError extends Error {
  constructor(customerId: string) {
    super(`customer ${customerId} has no credentials`);
    this.name = 'NoCredentialsError';
  }
}

/**
 * An access token that Calico should accept. `refused`: one that it just did not; it is refreshed unless somebody has
 * put another in its place since.
 *
 * The credentials' row stays locked while the token endpoint is asked: two refreshes of one rotating token would
 * condemn a healthy customer. The new tokens are committed before the access token is used. `onStored` hears which
 * access token it is that they replace, also where they are refused.
 * @throws CalicoError of the token endpoint, NoCredentialsError
 */
export async function accessToken(
  source: TokenSource,
  customerId: string,
  refused: string | null,
  signal: AbortSignal,
  onStored: (accessToken: string) => void = () => {},
): Promise<AccessToken> {
  const usable = (stored: Credentials | null): AccessToken | null => {
    if (!stored || stored.accessToken === refused || usableUntil(stored) <= source.now()) return null;
    return { token: stored.accessToken, usableUntilMs: usableUntil(stored), refreshed: false };
  };
  // Nearly always it is: then there is nothing to lock.
  const found = usable(await source.db.run((orm) => readCredentials(orm, source.keys, customerId)));
  if (found) return found;
  return source.db.transaction(async ({ orm }) => {
    const stored = await lockCredentials(orm, source.keys, customerId);
    if (!stored) throw new NoCredentialsError(customerId);
    const ofAnother = usable(stored);
    if (ofAnother) return ofAnother;
    onStored(stored.accessToken);
    await stayThroughTrade(orm);
    const tokens = await withGrace(signal, (late) =>
      refreshTokens(source.client, source.oauth, stored, source.now(), late),
    );
    await saveCredentials(orm, source.keys, customerId, tokens);
    // A token that ends sooner than that is used for half its life, not traded at every request.
    const halfLifeMs = (source.now() + tokens.accessExpiresAt.getTime()) / 2;
    const usableUntilMs = Math.max(usableUntil(tokens), halfLifeMs);
    return { token: tokens.accessToken, usableUntilMs, refreshed: true };
  });
}

/**
 * Works with a signal that aborts `GRACE_MS` after `signal`; at once where that is aborted already, for then nothing was
 * sent. It stops listening when the work ends: Node keeps a signal made by `AbortSignal.any` that anybody listens to for
 * as long as its sources live, and one of a turn's is the worker's own, which lives as long as the process.
 */
async function withGrace<T>(signal: AbortSignal, work: (late: AbortSignal) => Promise<T>): Promise<T> {
  if (signal.aborted) return work(signal);
  const late = new AbortController();
  const onAbort = () => setTimeout(() => late.abort(), GRACE_MS).unref();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await work(late.signal);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function usableUntil({ accessExpiresAt }: Pick<Credentials, 'accessExpiresAt'>): number {
  return accessExpiresAt.getTime() - REFRESH_AHEAD_MS;
}
