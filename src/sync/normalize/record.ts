import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { fitsNumeric } from '../../calico/decimal.ts';
import { canonicalJson, isObject, MAX_DEPTH } from '../../calico/json.ts';
import type { Problem } from '../../db/set-aside.ts';

/** A record as a row, or why it is none, with the key it would have had as far as that can be told. */
export type Normalized<Row> = { row: Row } | { problems: Problem[]; key: string | null };

/** The record's canonical JSON and its hash: SHA-256, first 16 bytes, as Postgres reads `bytea`. */
export function fingerprint(record: unknown): { raw: string; contentHash: string } {
  const raw = canonicalJson(record);
  return { raw, contentHash: `\\x${createHash('sha256').update(raw).digest('hex').slice(0, 32)}` };
}

/**
 * What keeps a record from being looked at or stored, found before Postgres has to: one row that it refuses costs its
 * page a second writing. Numbers count where `raw` is kept: those of the contract have limits of their own.
 */
export function faultsOf(record: unknown, keepRaw: boolean): Problem[] {
  const fault = faultIn(record, MAX_DEPTH, keepRaw);
  return fault ? [{ path: fault.path.reverse().join('.'), message: fault.message }] : [];
}

const TOO_DEEP = `nests deeper than ${MAX_DEPTH} levels`;

/** `path` from the inside out. */
type Fault = { path: string[]; message: string };

function faultIn(value: unknown, levels: number, keepRaw: boolean): Fault | null {
  if (typeof value !== 'object' || value === null) return null;
  if (JSON.isRawJSON(value)) {
    const fits = !keepRaw || fitsNumeric(value.rawJSON);
    return fits ? null : { path: [], message: 'is a number of more digits than Postgres holds' };
  }
  if (levels === 0) return { path: [], message: TOO_DEEP };
  for (const [key, part] of Object.entries(value)) {
    const fault = faultIn(part, levels - 1, keepRaw);
    // Where it is too deep is of no interest, and 500 names long.
    if (fault) return fault.message === TOO_DEEP ? fault : { ...fault, path: [...fault.path, key] };
  }
  return null;
}

/**
 * In bytes, all parts of a key together. A row of an index holds 2,704, of which the customer's id and the widths of
 * the parts take some.
 */
const LONGEST_KEY = 1_500;

/** A key that no index holds; `parts` by their names on the wire. */
export function keyFaults(parts: Readonly<Record<string, string | null | undefined>>): Problem[] {
  const sizes = Object.entries(parts).map(([path, text]) => ({ path, size: Buffer.byteLength(text ?? '') }));
  const total = sizes.reduce((sum, { size }) => sum + size, 0);
  if (total <= LONGEST_KEY) return [];
  const longest = sizes.reduce((a, b) => (b.size > a.size ? b : a));
  return [{ path: longest.path, message: `makes a key of ${total} bytes; an index holds ${LONGEST_KEY}` }];
}

/** zod's issues as JSON path and message; no message quotes a value. */
export function problemsOf(error: z.ZodError): Problem[] {
  return error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
}

/** A text field of a record that did not validate, for its quarantine key. */
export function textField(record: unknown, name: string): string | null {
  const value = isObject(record) ? record[name] : undefined;
  return typeof value === 'string' ? value : null;
}
