import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { canonicalJson, isObject } from '../../calico/json.ts';
import type { Problem } from '../../db/set-aside.ts';

/** A record as a row, or why it is none, with the key it would have had as far as that can be told. */
export type Normalized<Row> = { row: Row } | { problems: Problem[]; key: string | null };

/** The record's canonical JSON and its hash: SHA-256, first 16 bytes, as Postgres reads `bytea`. */
export function fingerprint(record: unknown): { raw: string; contentHash: string } {
  const raw = canonicalJson(record);
  return { raw, contentHash: `\\x${createHash('sha256').update(raw).digest('hex').slice(0, 32)}` };
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
