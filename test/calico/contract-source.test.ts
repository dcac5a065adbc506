/** For every part of every answer the line of contract.ts that says it. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ENDPOINTS, type Endpoint } from '../../src/calico/contract.ts';
import { ANSWER_SHAPES, placesOf } from '../../src/calico/contract-shape.ts';
import { CONTRACT_FILE, lineOf } from '../../src/calico/contract-source.ts';

const lines = readFileSync(fileURLToPath(new URL(`../../${CONTRACT_FILE}`, import.meta.url)), 'utf8').split(
  '\n',
);
const endpoints = [...Object.keys(ENDPOINTS), 'token'] as Endpoint[];

test.each(endpoints)(
  '%s: the line of each name has the name, and that of its members has each of them near',
  (endpoint) => {
    for (const { path, fields } of placesOf(ANSWER_SHAPES[endpoint])) {
      const key = path.replaceAll('[]', '').split('.').at(-1) ?? '';
      const line = lines[lineOf(endpoint, path, 'name') - 1] ?? '';
      // A list's elements are a constant of their own, or where the list is.
      expect(line, path).toMatch(
        path.endsWith('[]') || path === '' ? /\bz\b|errors|fees/ : new RegExp(`\\b${key}\\b`),
      );
      if (fields.size === 0) continue;
      const from = lineOf(endpoint, path, 'members') - 1;
      const nearby = lines.slice(from, from + 20).join('\n');
      for (const name of fields.keys())
        expect(nearby, `${path}.${name}`).toMatch(new RegExp(`\\b${name}\\b`));
    }
  },
);

test.each([
  ['transactions', 'data.transactions[]', 'name', 'export const transaction = '],
  ['transactions', 'data.transactions[].fees.items[].value.amount', 'name', 'const currencyValue = '],
  ['transactions', 'data.transactions[].fees.items[]', 'members', 'const feeItem = '],
  ['transactions', 'data.transactions[].input', 'members', 'const assetAmount = '],
  ['assets', 'data.assets[].cost_basis', 'name', '  cost_basis: currencyValue'],
  ['assets', 'errors[].cause', 'name', 'const providerError = '],
  ['transactions', 'page', 'members', 'const page = '],
  ['token', 'expires_in', 'name', '  expires_in: seconds.nullish().catch(null),'],
] as const)('%s %s (%s)', (endpoint, path, part, text) => {
  expect(lines[lineOf(endpoint, path, part) - 1]).toMatch(
    new RegExp(`^${text.replaceAll(/[.()]/g, '\\$&')}`),
  );
});

test('what the contract does not have has no line', () => {
  expect(() => lineOf('assets', 'data.assets[].apy', 'name')).toThrow('has no data.assets[].apy of assets');
});
