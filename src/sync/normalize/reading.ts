/** By which code records are read. A row is up to date where its record is as it was, and would be read as it was. */
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** What decides which row a record becomes: all that these three run of the API's (test/structure.test.ts). */
const FILES = [
  '../../calico/contract.ts',
  '../../calico/decimal.ts',
  '../../calico/fast-read.ts',
  '../../calico/json-numbers.ts',
  '../../calico/json-slices.ts',
  '../../calico/json.ts',
  './assets.ts',
  './record.ts',
  './transactions.ts',
];
const COMMENT_LINE = /^\s*(?:\/\/|\/?\*).*\n/gm;

/**
 * Stands for this code, comments aside: much of the contract is assumed, and once it is corrected no record may pass as
 * known that was read before.
 */
const READING = hash('sha256', FILES.map(codeOf).join(''));

function codeOf(file: string): string {
  return readFileSync(new URL(file, import.meta.url), 'utf8').replaceAll(COMMENT_LINE, '');
}

/** Of a record's exact text and of how it is read, 64 bits, hexadecimal: where a row has the same there is nothing to read. */
export function textHashOf(source: string): string {
  return hash('sha256', READING + source).slice(0, 16);
}

/**
 * A row's `content_hash`, 128 bits, as Postgres reads `bytea`: `textHashOf` first, then as much of what is `stored`, by which a
 * record that says the same in another spelling is told from one that changed. Each is compared with one row's only.
 */
export function contentHashOf(source: string, stored: string): string {
  return `\\x${textHashOf(source)}${hash('sha256', stored).slice(0, 16)}`;
}

/** The `content_hash` of what is part of another row's content and compared with it: a fee. */
export function partHashOf(raw: string): string {
  return `\\x${hash('sha256', raw).slice(0, 32)}`;
}
