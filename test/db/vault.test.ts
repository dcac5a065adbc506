/** Credentials at rest: what opens, what does not, and that no error quotes what is inside. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type KeyRing, open, seal } from '../../src/db/vault.ts';

const SECRET = 'refresh-token-of-alice';
const OWNER = 'refresh:alice';
const newKey = (): [string, Buffer] => [`key-${randomBytes(2).toString('hex')}`, randomBytes(32)];
const ring = (...keys: [string, Buffer][]): KeyRing => new Map(keys);

function errorOf(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('it opened');
}

/** Neither the secret nor what is stored of it. */
function expectNothingQuoted(error: Error, ciphertext: string): void {
  const told = `${error.message}\n${error.stack}\n${String(error.cause)}`;
  expect(told).not.toContain(SECRET);
  expect(told).not.toContain(ciphertext.slice(0, 16));
}

test('whatever is sealed opens for its owner', () => {
  const keys = ring(newKey());
  const text = fc.string({ unit: fc.constantFrom('a', 'Z', '\0', '"', ' ', 'é', '☃', '😀') });
  fc.assert(
    fc.property(text, text, (secret, owner) => {
      const { keyId, ciphertext } = seal(keys, secret, owner);
      expect(open(keys, keyId, ciphertext, owner)).toBe(secret);
    }),
    { numRuns: 300 },
  );
});

test('the same secret never looks the same twice, and its ciphertext does not hold it', () => {
  const keys = ring(newKey());
  const sealed = Array.from({ length: 100 }, () => seal(keys, SECRET, OWNER).ciphertext);
  expect(new Set(sealed.map((text) => text.slice(0, 16))).size).toBe(100);
  expect(Buffer.from(sealed[0] ?? '', 'base64').includes(SECRET)).toBe(false);
});

test('a change of any byte is noticed: IV, tag or ciphertext', () => {
  const keys = ring(newKey());
  const { keyId, ciphertext } = seal(keys, SECRET, OWNER);
  const bytes = Buffer.from(ciphertext, 'base64');
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes);
    changed.writeUInt8(changed.readUInt8(at) ^ (1 << (at % 8)), at);
    const error = errorOf(() => open(keys, keyId, changed.toString('base64'), OWNER));
    expect(error.message).toContain(keyId);
    expectNothingQuoted(error, ciphertext);
  }
});

test('so is one that is cut short, at any length, or longer', () => {
  const keys = ring(newKey());
  const { keyId, ciphertext } = seal(keys, SECRET, OWNER);
  const bytes = Buffer.from(ciphertext, 'base64');
  const others = [...bytes.keys()].map((length) => bytes.subarray(0, length));
  for (const other of [...others, Buffer.concat([bytes, Buffer.alloc(1)])]) {
    expectNothingQuoted(
      errorOf(() => open(keys, keyId, other.toString('base64'), OWNER)),
      ciphertext,
    );
  }
});

test.each(['refresh:bob', 'access:alice', 'refresh:alice ', 'refresh:Alice', ''])(
  'it does not open as %j: another customer’s row, or the other token',
  (owner) => {
    const keys = ring(newKey());
    const { keyId, ciphertext } = seal(keys, SECRET, OWNER);
    expectNothingQuoted(
      errorOf(() => open(keys, keyId, ciphertext, owner)),
      ciphertext,
    );
  },
);

test('a key that is not there is named', () => {
  const { ciphertext } = seal(ring(newKey()), SECRET, OWNER);
  const error = errorOf(() => open(ring(newKey()), 'key-of-2024', ciphertext, OWNER));
  expect(error.message).toContain('"key-of-2024"');
  expect(error.message).toContain('CREDENTIALS_KEYS');
  expectNothingQuoted(error, ciphertext);
});

test('other bytes under the same key id do not open', () => {
  const [id, key] = newKey();
  const { ciphertext } = seal(ring([id, key]), SECRET, OWNER);
  const error = errorOf(() => open(ring([id, randomBytes(32)]), id, ciphertext, OWNER));
  expect(error.message).toContain(id);
  expectNothingQuoted(error, ciphertext);
});

test('rotation: the first key encrypts, all of them decrypt', () => {
  const [older, newer] = [newKey(), newKey()];
  const before = seal(ring(older), SECRET, OWNER);
  const rotated = ring(newer, older);
  expect(open(rotated, before.keyId, before.ciphertext, OWNER)).toBe(SECRET);
  const after = seal(rotated, SECRET, OWNER);
  expect(after.keyId).toBe(newer[0]);
  expect(open(ring(newer), after.keyId, after.ciphertext, OWNER)).toBe(SECRET);
});

test('without a key nothing is sealed, and the error names the setting', () => {
  const error = errorOf(() => seal(ring(), SECRET, OWNER));
  expect(error.message).toContain('CREDENTIALS_KEYS');
  expect(error.message).not.toContain(SECRET);
});
