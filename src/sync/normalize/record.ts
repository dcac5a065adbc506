import type { z } from 'zod';
import { fitsNumeric } from '../../calico/decimal.ts';
import { canonicalJson, isObject, MAX_DEPTH, mayHoldUnstorable, OutOfBounds } from '../../calico/json.ts';
import type { Problem } from '../../db/set-aside.ts';

/** A record as a row, or why it is none, with the key it would have had as far as that can be told. */
export type Normalized<Row> = { row: Row } | { problems: Problem[]; key: string | null };

/**
 * The record's canonical JSON; or what keeps it from being looked at or stored, found before Postgres has to: one row that
 * it refuses costs its page a second writing. Numbers count where `raw` is kept: those of the contract have limits of their
 * own.
 */
export function readRaw(record: unknown, keepRaw: boolean): string | Problem[] {
  try {
    return canonicalJson(record, { levels: MAX_DEPTH, mustFitNumeric: keepRaw });
  } catch (error) {
    if (!(error instanceof OutOfBounds)) throw error;
  }
  const path = keepRaw ? pathToNumber(record, MAX_DEPTH) : null;
  return path === null
    ? [{ path: '', message: `nests deeper than ${MAX_DEPTH} levels` }]
    : [{ path: path.join('.'), message: 'is a number of more digits than Postgres holds' }];
}

/** The same, but for the order of its names, which Postgres does not keep: the text itself where that surely can be stored. */
export function rawOf(record: unknown, source: string, keepRaw: boolean): string | Problem[] {
  // So short, it neither nests too deep nor has a number of too many digits, but by an exponent.
  const isPlain =
    source.length <= 2 * MAX_DEPTH && !mayHoldUnstorable(source) && !MAY_HOLD_EXPONENT.test(source);
  if (!isPlain) return readRaw(record, keepRaw);
  // A row's values are sent as lines. Within a text there is none, and elsewhere it says nothing.
  return source.includes('\n') ? source.replaceAll('\n', ' ') : source;
}

const MAY_HOLD_EXPONENT = /[:,[]\s*-?\d[\d.]*[eE]/;

/** Where the first number is that Postgres cannot hold; null where it is depth that is wrong. */
function pathToNumber(value: unknown, levels: number): string[] | null {
  if (typeof value !== 'object' || value === null || levels === 0) return null;
  if (JSON.isRawJSON(value)) return fitsNumeric(value.rawJSON) ? null : [];
  for (const [key, part] of Object.entries(value)) {
    const path = pathToNumber(part, levels - 1);
    if (path) return [key, ...path];
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
  // No character takes more than three bytes in UTF-8 for each of its UTF-16 units.
  const units = Object.values(parts).reduce((sum, text) => sum + (text?.length ?? 0), 0);
  if (units * 3 <= LONGEST_KEY) return [];
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
