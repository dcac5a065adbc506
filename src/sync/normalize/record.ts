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

/** Far beyond any record, and far from where `canonicalJson` runs out of stack (some 2,300). */
const MAX_DEPTH = 500;

/** Why a record cannot even be looked at; empty for all but a hostile one. */
export function depthProblems(record: unknown): Problem[] {
  const message = `nests deeper than ${MAX_DEPTH} levels`;
  return isDeeper(record, MAX_DEPTH) ? [{ path: '', message }] : [];
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null || JSON.isRawJSON(value)) return false;
  return levels === 0 || Object.values(value).some((part) => isDeeper(part, levels - 1));
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
