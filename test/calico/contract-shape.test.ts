/** The contract read as data has every name that its other description, openapi.yaml, has. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { KINDS } from '../../src/calico/contract.ts';
import { ANSWER_SHAPES, placesOf } from '../../src/calico/contract-shape.ts';
import { TRANSACTION_KINDS } from '../../src/db/schema.ts';

type Schema = {
  $ref?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
};

const document = parse(
  readFileSync(fileURLToPath(new URL('../../src/calico/openapi.yaml', import.meta.url)), 'utf8'),
) as { components: { schemas: Record<string, Schema> } };

/** Paths of everything below a schema, as drift writes them. */
function pathsIn(schema: Schema | undefined, path: string): string[] {
  if (!schema) throw new Error(`openapi.yaml has no schema for ${path}`);
  const name = schema.$ref?.split('/').at(-1);
  if (name !== undefined) return pathsIn(document.components.schemas[name], path);
  const branches = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])];
  return [
    path,
    ...branches.flatMap((branch) => pathsIn(branch, path)),
    ...(schema.items ? pathsIn(schema.items, `${path}[]`) : []),
    ...Object.entries(schema.properties ?? {}).flatMap(([key, field]) =>
      pathsIn(field, path === '' ? key : `${path}.${key}`),
    ),
  ];
}

/** What nobody reads has no parts in contract.ts. */
const isUnread = (path: string) => path.includes('.fees.total.');

test.each([
  ['assets', 'GetAssetsResponse'],
  ['transactions', 'GetTransactionsResponse'],
  ['refreshAssets', 'RefreshResponse'],
  ['refreshTransactions', 'RefreshResponse'],
] as const)('%s has the names of %s', (endpoint, schema) => {
  const described = new Set(pathsIn({ $ref: schema }, '').filter((path) => !isUnread(path)));
  const known = [...placesOf(ANSWER_SHAPES[endpoint])].map(({ path }) => path);
  expect(known.toSorted()).toEqual([...described].toSorted());
});

test('types, what may be missing, and known values come from the schemas', () => {
  const places = new Map([...placesOf(ANSWER_SHAPES.transactions)].map((place) => [place.path, place]));
  const at = (path: string) => {
    const place = places.get(`data.transactions[]${path}`);
    return place && { types: place.types && [...place.types], optional: place.optional };
  };
  expect(at('')).toEqual({ types: ['object'], optional: false });
  expect(at('.transaction_id')).toEqual({ types: ['string'], optional: false });
  expect(at('.timestamp')).toEqual({ types: ['string', 'number'], optional: false });
  expect(at('.input')).toEqual({ types: ['object', 'null'], optional: true });
  expect(at('.input.amount')).toEqual({ types: ['string', 'number'], optional: false });
  expect(at('.fees.items')).toEqual({ types: ['array'], optional: false });
  expect(at('.fees.total')).toEqual({ types: null, optional: true });
  expect([...(places.get('data.transactions[].kind')?.values ?? [])]).toEqual([...KINDS]);
  expect(places.get('page.has_more')?.types).toEqual(new Set(['boolean', 'null']));
  expect(places.get('errors[].cause')?.optional).toBe(false);
});

test('the contract’s kinds are the tables’ kinds', () => {
  expect([...KINDS].toSorted()).toEqual([...TRANSACTION_KINDS].toSorted());
});
