import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** Keys by id. The first one encrypts; all of them decrypt, so that a key can be replaced while rows still name it. */
export type KeyRing = ReadonlyMap<string, Buffer>;

const IV_BYTES = 12; // NIST SP 800-38D, 8.2: 96-bit IVs
const TAG_BYTES = 16;

/**
 * AES-256-GCM with a fresh random IV: base64 of IV, tag and ciphertext.
 * `owner` (the customer's id and what the secret is) is authenticated with it: a row copied to another customer, or one
 * token put in the other's place, does not open.
 */
export function seal(keys: KeyRing, secret: string, owner: string): { keyId: string; ciphertext: string } {
  const first = keys.entries().next();
  if (first.done) throw new Error('CREDENTIALS_KEYS is empty: there is no key to encrypt with');
  const [keyId, key] = first.value;
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(owner, 'utf8'));
  const body = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
  return { keyId, ciphertext: Buffer.concat([iv, cipher.getAuthTag(), body]).toString('base64') };
}

/** @throws where the key is unknown or anything about the ciphertext or its owner was changed; the error quotes nothing. */
export function open(keys: KeyRing, keyId: string, ciphertext: string, owner: string): string {
  const key = keys.get(keyId);
  if (!key)
    throw new Error(`credentials are encrypted with key "${keyId}", which CREDENTIALS_KEYS does not have`);
  try {
    const bytes = Buffer.from(ciphertext, 'base64');
    const iv = bytes.subarray(0, IV_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(owner, 'utf8'));
    decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
    const body = decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES));
    return Buffer.concat([body, decipher.final()]).toString('utf8');
  } catch {
    throw new Error(`credentials do not open with key "${keyId}": the key's bytes or the row were changed`);
  }
}
