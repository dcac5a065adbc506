import { eq, sql } from 'drizzle-orm';
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
  return decrypt(keys, await orm.select().from(credentials).where(eq(credentials.customerId, customerId)));
}

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
