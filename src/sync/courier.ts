import { readAnswer } from '../calico/client.ts';
import { type Endpoint, refreshAnswer } from '../calico/contract.ts';
import { CalicoError } from '../calico/errors.ts';
import { fetchPage, type Page, type PageRequest } from '../calico/pages.ts';
import { decide } from '../calico/response-codes.ts';
import { type AccessToken, accessToken, type TokenSource } from './access-token.ts';
import { downIn } from './providers.ts';

/** Asks Calico in one customer's name. */
export type Courier = {
  refresh(endpoint: Endpoint): Promise<{ code: number; down: Map<string, string> }>;
  page(request: Omit<PageRequest, 'bearer' | 'signal'>): Promise<Page>;
  /** The stored access token that was last used, or traded because it had ended; null before that. */
  lastBearer(): string | null;
};

/** A token that was refreshed and is refused again is refused for good; one more round covers a change by others. */
const MAX_ROUNDS = 3;

/**
 * Puts the bearer on requests: fetched before it ends, refreshed when it is refused, and then the same request again.
 * Every other failure is the caller's.
 */
export function createCourier(deps: TokenSource, customerId: string, signal: AbortSignal): Courier {
  let held: AccessToken | null = null;
  let lastBearer: string | null = null;

  async function fetchToken(refused: string | null): Promise<AccessToken> {
    const noteStored = (stored: string) => {
      lastBearer = stored;
    };
    const token = await accessToken(deps, customerId, refused, signal, noteStored);
    lastBearer = token.token;
    return token;
  }

  async function withBearer<T>(send: (bearer: string) => Promise<T>): Promise<T> {
    let tokenRefreshed = false;
    for (let round = 1; ; round++) {
      if (held === null || held.usableUntilMs <= deps.now()) {
        held = await fetchToken(null);
      }
      try {
        return await send(held.token);
      } catch (error) {
        if (!(error instanceof CalicoError) || round === MAX_ROUNDS) throw error;
        const decision = decide(error.failure, { tokenRefreshed, restarted: false, attempts: 0 });
        if (decision.do !== 'refresh_token') throw error;
        held = await fetchToken(held.token);
        tokenRefreshed = held.refreshed;
      }
    }
  }

  return {
    refresh: (endpoint) =>
      withBearer(async (bearer) => {
        const answer = await deps.client.send({ endpoint, bearer, signal });
        const { errors } = readAnswer(answer, refreshAnswer);
        const partial = answer.code === 206 || errors.length > 0;
        return { code: answer.code, down: downIn({ partial, errors }) };
      }),
    page: (request) => withBearer((bearer) => fetchPage(deps.client, { ...request, bearer, signal })),
    lastBearer: () => lastBearer,
  };
}
