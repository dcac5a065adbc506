/**
 * JSON without loss. Numbers keep their source text (`JSON.rawJSON`), so that none of them ever is a binary float, and
 * characters that Postgres cannot hold are escaped reversibly before anything else sees them.
 */

import { fitsNumeric } from './decimal.ts';
import { parseInOrder, restoreInOrder } from './json-numbers.ts';
import { cutDeep } from './json-slices.ts';

/** A JSON number as it was written: `{ rawJSON: "7.40" }`. `JSON.stringify` writes it back digit for digit. */
export type JsonNumber = { readonly rawJSON: string };

// ECMAScript "JSON.parse source text access" (Node 24 has it, TypeScript 7's library does not).
declare global {
  interface JSON {
    rawJSON(text: string): JsonNumber;
    isRawJSON(value: unknown): value is JsonNumber;
    parse(
      text: string,
      reviver: (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown,
    ): unknown;
  }
}

/**
 * Whether a JSON text may hold what `UNSTORABLE` finds once it is parsed. NUL and lone surrogates can only arrive as escapes:
 * the decoder has already refused their raw bytes. A look-alike has a backslash, which is written as two or as an escape.
 * Other escapes, as of emoji and of every script, are nothing: whoever writes ASCII only has many.
 */
const MAY_HOLD_UNSTORABLE =
  /\\(?:\\|u(?:00(?:00|5c)|d[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab][0-9a-f]{2}\\u)d[c-f]))/i;
/**
 * What Postgres text cannot hold (NUL, lone surrogates), and whatever looks like its escaped form already. A match begins
 * where its backslashes begin: looked for from each of them, a long row of backslashes takes quadratic time.
 */
const UNSTORABLE =
  /(?<!\\)(\\*)(?:([\0]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff])|(u(?:0000|d[89a-f][0-9a-f]{2})))/g;
/** Without one of these a text holds neither. */
const HAS_ODD_UNIT = /[\0\\\ud800-\udfff]/;
const ESCAPED = /(?<!\\)(\\+)u(0000|d[89a-f][0-9a-f]{2})/g;

/**
 * Parses JSON; numbers become `JsonNumber`, strings and keys are storable. What nests deeper than the stack allows is cut
 * off, far below what any reader takes (`MAX_DEPTH`): the record that holds it is refused there, its neighbours are not.
 * @throws SyntaxError where the text is not JSON.
 */
export function parseExactJson(text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    // The text is JSON: parsing itself needs no stack, only the way through what was parsed.
    if (error instanceof RangeError) return parse(cutDeep(text, KEPT_DEPTH));
    throw error;
  }
}

/** A value that nests deeper is no record: far beyond any, and far from where `canonicalJson` runs out of stack. */
export const MAX_DEPTH = 500;
/** What is cut is too deep still, wherever in an answer its record begins. */
const KEPT_DEPTH = MAX_DEPTH + 100;

/** Makes of what `JSON.parse` made of a text what `parseExactJson` would, in place where it can; nothing in it `mayHoldUnstorable`. */
export function restoreExactJson(text: string, parsed: unknown): unknown {
  try {
    const restored = restoreInOrder(text, parsed, null);
    if (restored) return restored.value;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return parseExactJson(text);
}

/** False: nothing in this JSON text has to be escaped before it is stored. */
export const mayHoldUnstorable = (text: string) => text.includes('\\') && MAY_HOLD_UNSTORABLE.test(text);

function parse(text: string): unknown {
  const mustEscape = mayHoldUnstorable(text);
  const inOrder = parseInOrder(text, mustEscape ? ESCAPE : null);
  if (inOrder) return inOrder.value;
  return JSON.parse(text, (_key, value, context) => {
    if (typeof value === 'number') return JSON.rawJSON(context.source ?? String(value));
    if (!mustEscape) return value;
    if (typeof value === 'string') return escapeUnstorable(value);
    return isObject(value) ? withStorableKeys(value) : value;
  });
}

/**
 * Makes a string storable, reversibly: NUL becomes the six characters `\u0000`, a lone surrogate `\ud83d`. Backslashes
 * right before such a form are doubled, so an odd number of them marks an escape and an even number the text itself.
 */
export function escapeUnstorable(text: string): string {
  if (!HAS_ODD_UNIT.test(text)) return text;
  return text.replace(UNSTORABLE, (whole, slashes: string, character?: string) => {
    if (character === undefined) return slashes === '' ? whole : `${slashes}${whole}`;
    return `${slashes}${slashes}\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** The inverse of `escapeUnstorable`. */
export function unescapeUnstorable(text: string): string {
  return text.replace(ESCAPED, (_whole, slashes: string, hex: string) => {
    const kept = '\\'.repeat(Math.floor(slashes.length / 2));
    return slashes.length % 2 === 1
      ? `${kept}${String.fromCharCode(Number.parseInt(hex, 16))}`
      : `${kept}u${hex}`;
  });
}

/** A value nests too deep, or holds a number that Postgres cannot. */
export class OutOfBounds extends Error {}

/** How deep a value may nest, and whether its numbers must fit into `numeric`. */
export type Bounds = { levels: number; mustFitNumeric: boolean };

const UNBOUNDED: Bounds = { levels: Number.POSITIVE_INFINITY, mustFitNumeric: false };

/**
 * JSON with sorted keys: the same record has the same text whatever the order in which the API wrote its fields.
 * @throws OutOfBounds where the value breaks `bounds`, whose check costs nothing beside the sorting.
 */
export function canonicalJson(value: unknown, bounds: Bounds = UNBOUNDED): string {
  const { levels, mustFitNumeric } = bounds;
  try {
    // Written by V8 at once: a text that is put together field by field takes as long and leaves twice as much to be collected.
    return JSON.stringify(inOrder(value, levels, mustFitNumeric)) ?? 'null';
  } catch (error) {
    if (error instanceof OddName) return write(value, levels, mustFitNumeric);
    throw error;
  }
}

/** A name that no object of ours can have in its place: one that looks like an index comes first, `__proto__` is none. */
class OddName extends Error {}
const ODD_NAME = /^(?:\d+|__proto__)$/;

/** The same, field by field. */
function write(value: unknown, levels: number, mustFit: boolean): string {
  if (typeof value !== 'object' || value === null || isJsonNumber(value))
    return JSON.stringify(inOrder(value, levels, mustFit)) ?? 'null';
  if (levels === 0) throw new OutOfBounds();
  if (Array.isArray(value)) return `[${value.map((part) => write(part, levels - 1, mustFit)).join(',')}]`;
  const object = value as Record<string, unknown>;
  const names = Object.keys(object).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${write(object[name], levels - 1, mustFit)}`).join(',')}}`;
}

/** The value with each object's keys in order. */
function inOrder(value: unknown, levels: number, mustFit: boolean): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (isJsonNumber(value)) {
    if (mustFit && !fitsNumeric(value.rawJSON)) throw new OutOfBounds();
    return value;
  }
  if (levels === 0) throw new OutOfBounds();
  if (Array.isArray(value)) {
    // Not `map`: what a closure takes in is set aside at each call of the function, that of a mere text too.
    const parts: unknown[] = [];
    for (const part of value) parts.push(inOrder(part, levels - 1, mustFit));
    return parts;
  }
  const object = value as Record<string, unknown>;
  const sorted: Record<string, unknown> = {};
  for (const name of sortedNames(object)) {
    sorted[name] = inOrder(object[name], levels - 1, mustFit);
  }
  return sorted;
}

/** A number that `parseExactJson` read. An ordinary object has hardly ever such a member, and that is a cheap question. */
export function isJsonNumber(value: object): value is JsonNumber {
  return (value as Partial<JsonNumber>).rawJSON !== undefined && JSON.isRawJSON(value);
}

/** Names in the order in which an object has them; `sorted` where one ends here. */
type Order = { next: Map<string, Order>; sorted: string[] | null; isOdd: boolean };

/**
 * The orders of names that came so far: a page's records have a dozen. Sorted once each, for listing and sorting the names of each
 * object anew made more garbage than the rest of the record.
 */
const noNames = (): Order => ({ next: new Map(), sorted: null, isOdd: false });
let orders = noNames();
let ordersKept = 0;
const MOST_ORDERS = 1_000;

/** @throws OddName */
function sortedNames(object: Record<string, unknown>): string[] {
  let at = orders;
  for (const name in object) {
    let next = at.next.get(name);
    if (next === undefined) {
      next = noNames();
      next.isOdd = at.isOdd || ODD_NAME.test(name);
      at.next.set(name, next);
      ordersKept++;
    }
    at = next;
  }
  if (ordersKept > MOST_ORDERS) {
    orders = noNames();
    ordersKept = 0;
  }
  if (at.isOdd) throw new OddName();
  at.sorted ??= Object.keys(object).sort();
  return at.sorted;
}

/** A JSON object; a `JsonNumber` is none. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value);
}

function withStorableKeys(value: Record<string, unknown>): Record<string, unknown> {
  const keys = Object.keys(value);
  if (keys.every((key) => escapeUnstorable(key) === key)) return value;
  return Object.fromEntries(keys.map((key) => [escapeUnstorable(key), value[key]]));
}

const ESCAPE = { text: escapeUnstorable, names: withStorableKeys };
