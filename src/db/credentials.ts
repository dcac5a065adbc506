import { asc, eq, gt, sql } from 'drizzle-orm';
import { built } from './built.ts';
import type { Orm } from './client.ts';
import { credentials } from './schema-sync.ts';
import { type KeyRing, open, seal } from './vault.ts';

/** A customer's tokens in the clear: lives in memory for a request, never in a log, a job or an error. */
export type Credentials = {
  accessToken: string;
  refreshToken: string;
  accessExpiresAt: Date;
  refreshExpiresAt: Date;
};

/** Stores tokens encrypted, in place of any the customer had. */
export async function saveCredentials(
  orm: Orm,
  keys: KeyRing,
  customerId: string,
  tokens: Credentials,
): Promise<void> {
  const access = seal(keys, tokens.accessToken, owner(customerId, 'access'));
  const refresh = seal(keys, tokens.refreshToken, owner(customerId, 'refresh'));
  const row = {
    accessTokenCiphertext: access.ciphertext,
    refreshTokenCiphertext: refresh.ciphertext,
    keyId: access.keyId,
    accessExpiresAt: tokens.accessExpiresAt,
    refreshExpiresAt: tokens.refreshExpiresAt,
  };
  await orm
    .insert(credentials)
    .values({ customerId, ...row })
    .onConflictDoUpdate({ target: credentials.customerId, set: { ...row, updatedAt: sql`now()` } });
}

/** The customer's tokens, or null where there are none. */
export async function readCredentials(
  orm: Orm,
  keys: KeyRing,
  customerId: string,
): Promise<Credentials | null> {
  return decrypt(keys, await selectOne(orm, { customerId }));
}

const selectOne = built('read_credentials', (orm) =>
  orm
    .select()
    .from(credentials)
    .where(eq(credentials.customerId, sql.placeholder('customerId'))),
);

/** When a customer's tokens end and which key they are sealed with; opens nothing. */
export async function readExpiry(orm: Orm, customerId: string) {
  const { keyId, accessExpiresAt, refreshExpiresAt } = credentials;
  const [row] = await orm
    .select({ keyId, accessExpiresAt, refreshExpiresAt })
    .from(credentials)
    .where(eq(credentials.customerId, customerId));
  return row ?? null;
}

/** The customer's tokens, holding the row's lock until the transaction ends: one token refresh at a time a customer. */
export async function lockCredentials(
  orm: Orm,
  keys: KeyRing,
  customerId: string,
): Promise<Credentials | null> {
  const rows = orm.select().from(credentials).where(eq(credentials.customerId, customerId));
  return decrypt(keys, await rows.for('update'));
}

/**
 * Lets this transaction idle for ten minutes: whoever trades a token may wait long for its place in the budget and for the
 * answer, and a session that is ended in between takes the only good refresh token with it.
 */
export async function stayThroughTrade(orm: Orm): Promise<void> {
  await orm.execute(sql`SET LOCAL idle_in_transaction_session_timeout = '10min'`);
}

function decrypt(keys: KeyRing, [row]: (typeof credentials.$inferSelect)[]): Credentials | null {
  if (!row) return null;
  return {
    accessToken: open(keys, row.keyId, row.accessTokenCiphertext, owner(row.customerId, 'access')),
    refreshToken: open(keys, row.keyId, row.refreshTokenCiphertext, owner(row.customerId, 'refresh')),
    accessExpiresAt: row.accessExpiresAt,
    refreshExpiresAt: row.refreshExpiresAt,
  };
}

const owner = (customerId: string, token: 'access' | 'refresh') => `${token}:${customerId}`;

/** How many customers' tokens name a key, and how many of those do not open with the ring's key of that id. */
export type KeyUse = { keyId: string; customers: number; closed: number };

const CHUNK = 1_000;

/** Opens every stored token, and keeps none; by key id. */
export async function tryKeys(orm: Orm, keys: KeyRing): Promise<KeyUse[]> {
  const uses = new Map<string, KeyUse>();
  for (let after = ''; ; ) {
    const rows = await orm
      .select()
      .from(credentials)
      .where(gt(credentials.customerId, after))
      .orderBy(asc(credentials.customerId))
      .limit(CHUNK);
    for (const row of rows) {
      const use = uses.get(row.keyId) ?? { keyId: row.keyId, customers: 0, closed: 0 };
      use.customers++;
      if (!opens(keys, row)) use.closed++;
      uses.set(row.keyId, use);
    }
    if (rows.length < CHUNK) return [...uses.values()].sort((a, b) => a.keyId.localeCompare(b.keyId));
    after = rows.at(-1)?.customerId ?? after;
  }
}

function opens(keys: KeyRing, row: typeof credentials.$inferSelect): boolean {
  try {
    return decrypt(keys, [row]) !== null;
  } catch {
    return false;
  }
}
