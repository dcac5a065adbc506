/** Where an answer is not what the contract says: new names, new values, other types. Pure; it refuses nothing. */
import type { Request } from './client.ts';
import type { Endpoint } from './contract.ts';
import { ANSWER_SHAPES, jsonTypeOf, type Shape } from './contract-shape.ts';
import { createRedactor, type Redactor } from './redact.ts';

export const DRIFT_KINDS = [
  'unknown_field',
  'unknown_value',
  'type_changed',
  'missing_field',
  'more',
] as const;
/** `more`: beyond the number of differences that are kept one by one. */
export type DriftKind = (typeof DRIFT_KINDS)[number];

/** One way in which answers differ from the contract. */
export type Drift = {
  endpoint: Endpoint;
  /** Keys by dots, elements of arrays as `[]`. */
  path: string;
  kind: DriftKind;
  /** The new value, or which type is there instead of which; '' where the path says it all. */
  detail: string;
  /** How often it was seen. */
  count: number;
  /** What was there, as JSON, shortened; null where there is nothing to show, and always at the token endpoint. */
  sample: string | null;
};

/** Differences kept one by one of an answer, and of an endpoint: a server that has ids for names has as many as it likes. */
export const MOST_DRIFTS = 200;
/** In bytes; all three together must fit into an index row of Postgres (2,704). */
const LONGEST = { name: 100, detail: 100, sample: 200 };

/** Everything in which a parsed answer differs from its endpoint's contract; nothing of the request's secrets is in it. */
export function driftIn(request: Pick<Request, 'endpoint' | 'bearer' | 'secrets'>, body: unknown): Drift[] {
  const found = new Map<string, Drift>();
  compare(ANSWER_SHAPES[request.endpoint], body, collector(request, found));
  return [...found.values()];
}

/** `name`: of the field, where it is not the shape's own. */
type Report = (shape: Shape, kind: DriftKind, value: unknown, name?: string) => void;

/** Goes only where the contract goes, so no answer is too deep for it. */
function compare(shape: Shape, value: unknown, report: Report): void {
  if (shape.types === null) return;
  const type = jsonTypeOf(value);
  if (!shape.types.has(type)) report(shape, 'type_changed', value);
  else if (type === 'object') compareFields(shape, value as Record<string, unknown>, report);
  else if (type === 'array' && shape.items) {
    for (const item of value as unknown[]) compare(shape.items, item, report);
  } else if (type === 'string' && shape.values !== null && !shape.values.has(value as string)) {
    report(shape, 'unknown_value', value);
  }
}

/** Most fields are texts or null: for them one look, without a call, halves the cost of a record (test/reliability/drift-cost.test.ts). */
function compareFields(shape: Shape, object: Record<string, unknown>, report: Report): void {
  let required = 0;
  for (const name in object) {
    const value = object[name];
    const field = shape.fields.get(name);
    if (field === undefined) {
      report(shape, 'unknown_field', value, name);
      continue;
    }
    if (!field.optional) required++;
    if (typeof value === 'string' ? field.takesAnyText : value === null && field.takesNull) continue;
    compare(field, value, report);
  }
  if (required === shape.required.length) return;
  for (const [name, field] of shape.required) {
    if (!Object.hasOwn(object, name)) report(field, 'missing_field', null);
  }
}

function collector(
  { endpoint, bearer = '', secrets = [] }: Parameters<typeof driftIn>[0],
  found: Map<string, Drift>,
): Report {
  let redactor: Redactor | undefined;
  const quote = (text: string, maxBytes: number) => {
    redactor ??= createRedactor([bearer, ...secrets]);
    return redactor.quote(Buffer.from(text), maxBytes).toWellFormed();
  };
  return (shape, kind, value, name) => {
    const exact = `${shape.path}\n${kind}\n${name ?? detailOf(shape, kind, value)}`;
    const known = found.get(exact) ?? (found.size < MOST_DRIFTS ? undefined : found.get(MORE));
    if (known) {
      known.count++;
      return;
    }
    if (found.size >= MOST_DRIFTS) {
      found.set(MORE, { endpoint, path: '', kind: 'more', detail: '', count: 1, sample: null });
      return;
    }
    found.set(exact, {
      endpoint,
      path: name === undefined ? shape.path : join(shape.path, quote(name, LONGEST.name)),
      kind,
      detail: quote(detailOf(shape, kind, value), LONGEST.detail),
      count: 1,
      sample: endpoint === 'token' || value === null ? null : quote(outline(value, 0), LONGEST.sample),
    });
  };
}

const MORE = '\nmore\n';

function detailOf(shape: Shape, kind: DriftKind, value: unknown): string {
  if (kind === 'unknown_value') return value as string;
  if (kind !== 'type_changed') return '';
  return `${[...(shape.types ?? [])].join(' or ')} expected, ${jsonTypeOf(value)} seen`;
}

/** A name that a path could be mistaken in is quoted. */
function join(path: string, name: string): string {
  if (!/^[\w$-]+$/.test(name)) return `${path}[${JSON.stringify(name)}]`;
  return path === '' ? name : `${path}.${name}`;
}

/** Of what has more of it the sample shows the beginning. */
const OUTLINE = { depth: 3, parts: 10, characters: 10_000 };

/** Digits that a binary float has for certain: of a number that was not read exactly (records.ts) the rest may be rounded. */
const SAFE_DIGITS = 15;

const outlineOfNumber = (text: string) => (text.replace(/\D/g, '').length > SAFE_DIGITS ? `${text}…` : text);

/** JSON as far as a sample needs it: its depth and width are bounded, whatever the value's are. */
function outline(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, OUTLINE.characters));
  if (typeof value === 'number') return outlineOfNumber(String(value));
  if (typeof value !== 'object' || value === null) return String(value);
  if (JSON.isRawJSON(value)) return value.rawJSON.slice(0, OUTLINE.characters);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  if (depth === OUTLINE.depth) return `${open}…${close}`;
  const parts: string[] = [];
  for (const key in value) {
    if (parts.length === OUTLINE.parts) {
      parts.push('…');
      break;
    }
    const part = outline((value as Record<string, unknown>)[key], depth + 1);
    parts.push(Array.isArray(value) ? part : `${JSON.stringify(key.slice(0, OUTLINE.characters))}:${part}`);
  }
  return `${open}${parts.join(',')}${close}`;
}
