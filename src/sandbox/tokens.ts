/** The sandbox's tokens: opaque, short-lived, one customer each. Refresh tokens rotate, as OAuth 2.0 allows. */

/** The token endpoint's answer (RFC 6749 section 5.1). Without `refresh_token` the old one stays good. */
export interface TokenAnswer {
  readonly access_token: string;
  readonly token_type: 'Bearer';
  /** Seconds. */
  readonly expires_in: number;
  readonly refresh_token?: string;
}

/** The answer to a customer's first issue, always with a refresh token. */
export type IssuedTokens = TokenAnswer & { readonly refresh_token: string };

export interface TokenStoreOptions {
  readonly now: () => number;
  readonly random: (size: number) => Buffer;
  readonly accessTokenTtlMs: number;
  readonly refreshTokenTtlMs: number;
  /** Whether using a refresh token ends it and brings another. */
  readonly rotateRefreshTokens: boolean;
  /** How long a refresh token stays good after its use. */
  readonly refreshTokenGraceMs: number;
}

export interface TokenStore {
  /** A new pair for a customer; earlier ones stay good. */
  issue(customerId: string): IssuedTokens;
  /** Whose access token this is; null when it is unknown or expired. */
  customerOfAccess(accessToken: string): string | null;
  /** Whose refresh token this is, without using it; null when it is unknown, spent or expired. */
  customerOfRefresh(refreshToken: string): string | null;
  /** Uses a refresh token; null when it is unknown, spent or expired. */
  refresh(refreshToken: string): TokenAnswer | null;
  /** Ends a customer's access tokens before their time. */
  expireAccessTokens(customerId: string): void;
  /** Ends all tokens of a customer: only new credentials help. */
  revoke(customerId: string): void;
}

/** Tokens of one kind. They live equally long, so the oldest are the first to expire; one that was ended waits for them. */
interface Ring {
  add(customerId: string): string;
  customerOf(token: string): string | null;
  /** Ends a token in `ms`, or sooner where it ends sooner anyway. */
  endIn(ms: number, token: string): void;
  removeAllOf(customerId: string): void;
}

/** Makes a store of tokens in memory. */
export function createTokenStore(options: TokenStoreOptions): TokenStore {
  const access = createRing(options, 'access', options.accessTokenTtlMs);
  const refresh = createRing(options, 'refresh', options.refreshTokenTtlMs);

  function accessAnswer(customerId: string): TokenAnswer {
    const expires_in = Math.floor(options.accessTokenTtlMs / 1_000);
    return { access_token: access.add(customerId), token_type: 'Bearer', expires_in };
  }

  function issue(customerId: string): IssuedTokens {
    return { ...accessAnswer(customerId), refresh_token: refresh.add(customerId) };
  }

  return {
    issue,
    customerOfAccess: access.customerOf,
    customerOfRefresh: refresh.customerOf,
    refresh: (refreshToken) => {
      const customerId = refresh.customerOf(refreshToken);
      if (customerId === null) return null;
      if (!options.rotateRefreshTokens) return accessAnswer(customerId);
      refresh.endIn(options.refreshTokenGraceMs, refreshToken);
      return issue(customerId);
    },
    expireAccessTokens: access.removeAllOf,
    revoke: (customerId) => {
      access.removeAllOf(customerId);
      refresh.removeAllOf(customerId);
    },
  };
}

function createRing({ now, random }: TokenStoreOptions, prefix: string, ttlMs: number): Ring {
  const tokens = new Map<string, { readonly customerId: string; readonly expiresAtMs: number }>();

  function dropExpired(): void {
    for (const [token, { expiresAtMs }] of tokens) {
      if (expiresAtMs > now()) return;
      tokens.delete(token);
    }
  }

  return {
    add: (customerId) => {
      dropExpired();
      const token = `sandbox-${prefix}-${random(24).toString('base64url')}`;
      tokens.set(token, { customerId, expiresAtMs: now() + ttlMs });
      return token;
    },
    customerOf: (token) => {
      const found = tokens.get(token);
      return found !== undefined && found.expiresAtMs > now() ? found.customerId : null;
    },
    endIn: (ms, token) => {
      const found = tokens.get(token);
      if (found && ms <= 0) tokens.delete(token);
      else if (found) tokens.set(token, { ...found, expiresAtMs: Math.min(found.expiresAtMs, now() + ms) });
    },
    removeAllOf: (customerId) => {
      for (const [token, owner] of tokens) if (owner.customerId === customerId) tokens.delete(token);
    },
  };
}
