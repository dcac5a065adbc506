/**
 * The contract as data: which names and types each answer may have, read out of contract.ts's own zod schemas, so that
 * no name of the wire is written twice.
 */
import type { z } from 'zod';
import {
  assetPosition,
  assetsAnswer,
  type Endpoint,
  RECORDS_PATH,
  refreshAnswer,
  textOrNumber,
  tokenAnswer,
  transaction,
  transactionsAnswer,
} from './contract.ts';

export type JsonType = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null';

/** One place of an answer. `path`: keys by dots, every element of an array as `[]`; '' is the answer itself. */
export type Shape = {
  path: string;
  /** May it be left out of its object? */
  optional: boolean;
  /** What it may be; null: anything, nobody reads it. */
  types: ReadonlySet<JsonType> | null;
  fields: ReadonlyMap<string, Shape>;
  /** Those of them that must be there. */
  required: readonly (readonly [name: string, field: Shape])[];
  items: Shape | null;
  /** The values that the contract knows, where it lists them; null: any. */
  values: ReadonlySet<string> | null;
  /** The two commonest questions, answered beforehand. */
  takesAnyText: boolean;
  takesNull: boolean;
};

const RECORDS = { assets: assetPosition, transactions: transaction };

/** What each endpoint's answers look like; a page's records are part of it. */
export const ANSWER_SHAPES: Record<Endpoint, Shape> = {
  refreshAssets: shapeOf(refreshAnswer, ''),
  refreshTransactions: shapeOf(refreshAnswer, ''),
  assets: withRecords(shapeOf(assetsAnswer, ''), 'assets'),
  transactions: withRecords(shapeOf(transactionsAnswer, ''), 'transactions'),
  token: shapeOf(tokenAnswer, ''),
};

/** Every place of a shape, itself the first. */
export function* placesOf(shape: Shape): Generator<Shape> {
  yield shape;
  for (const field of shape.fields.values()) yield* placesOf(field);
  if (shape.items) yield* placesOf(shape.items);
}

/** What JSON calls a parsed value (numbers are `JsonNumber`s). */
export function jsonTypeOf(value: unknown): JsonType {
  if (typeof value === 'string') return 'string';
  if (typeof value !== 'object') return typeof value === 'boolean' ? 'boolean' : 'number';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return JSON.isRawJSON(value) ? 'number' : 'object';
}

/** The envelope leaves records unread, each is judged by itself: here they are put back in their place. */
function withRecords(answer: Shape, endpoint: keyof typeof RECORDS): Shape {
  let list: Shape | undefined = answer;
  for (const key of RECORDS_PATH[endpoint]) list = list?.fields.get(key);
  if (!list) throw new Error(`the contract has no ${RECORDS_PATH[endpoint].join('.')}`);
  list.items = shapeOf(RECORDS[endpoint], `${list.path}[]`);
  return answer;
}

type Parts = Pick<Shape, 'path' | 'types'> & Partial<Pick<Shape, 'optional' | 'fields' | 'items' | 'values'>>;

function shape({
  path,
  types,
  optional = false,
  fields = new Map(),
  items = null,
  values = null,
}: Parts): Shape {
  const required = [...fields].filter(([, field]) => !field.optional);
  const takesAnyText = types === null || (types.has('string') && values === null);
  const takesNull = types === null || types.has('null');
  return { path, types, optional, fields, required, items, values, takesAnyText, takesNull };
}

/** Reads a zod schema (`_zod.def`, zod 4). What comes in counts, not what a transform makes of it. */
function shapeOf(schema: z.core.$ZodType, path: string): Shape {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  switch (def.type) {
    case 'string':
    case 'number':
    case 'boolean':
      return shape({ path, types: new Set([def.type]) });
    case 'custom': // `textOrNumber` or `jsonNumber`: the contract has no other
      return shape({ path, types: new Set(schema === textOrNumber ? ['string', 'number'] : ['number']) });
    case 'unknown':
      return shape({ path, types: null });
    case 'enum':
      return shape({
        path,
        types: new Set(['string']),
        values: new Set(Object.values(def.entries).map(String)),
      });
    case 'optional':
      return shape({ ...shapeOf(def.innerType, path), optional: true });
    case 'nullable':
      return either(shapeOf(def.innerType, path), shape({ path, types: new Set(['null']) }));
    case 'catch':
      return shapeOf(def.innerType, path);
    case 'pipe':
      return shapeOf(def.in, path);
    case 'union':
      return def.options.map((option) => shapeOf(option, path)).reduce(either);
    case 'array':
      return shape({ path, types: new Set(['array']), items: shapeOf(def.element, `${path}[]`) });
    case 'object':
      return shape({ path, types: new Set(['object']), fields: fieldsOf(def.shape, path) });
    default:
      throw new Error(`contract-shape.ts cannot read a zod "${def.type}" (at ${path})`);
  }
}

function fieldsOf(fields: Readonly<Record<string, z.core.$ZodType>>, path: string): Map<string, Shape> {
  const prefix = path === '' ? '' : `${path}.`;
  return new Map(Object.entries(fields).map(([name, field]) => [name, shapeOf(field, `${prefix}${name}`)]));
}

/** One of the two; only the first may have parts. A list of known values beside any text is that list. */
function either(one: Shape, other: Shape): Shape {
  const types = one.types && other.types && new Set([...one.types, ...other.types]);
  return shape({ ...one, types, values: one.values ?? other.values });
}
