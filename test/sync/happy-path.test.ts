import { expect, test } from 'vitest';
import { createWorld } from '../support/world.ts';

test('a customer’s records land, each once, and the receipt is green', async () => {
  const world = await createWorld({ settings: { pageLimit: 2 } });
  world.data.add(
    'transactions',
    'alice',
    {
      transaction_id: 't1',
      kind: 'send',
      provider_id: 'coinbase',
      timestamp: 1683029999000,
      output: { asset_symbol: 'BTC', amount: '0.5' },
    },
    {
      transaction_id: 't2',
      kind: 'receive',
      provider_id: 'coinbase',
      timestamp: 1683029999001,
      input: { asset_symbol: 'BTC', amount: '7.4' },
    },
    {
      transaction_id: 't3',
      kind: 'input_output',
      provider_id: 'coinbase',
      timestamp: 1683029999002,
      input: { asset_symbol: 'BTC', amount: '7.4' },
      output: { asset_symbol: 'USD', amount: '100' },
      fees: { items: [{ asset_symbol: 'USD', amount: '1' }] },
    },
  );
  await world.addCustomer('alice');

  const outcome = await world.sync('alice');

  expect(outcome).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(await world.rows('SELECT kind, transaction_id FROM calico.transactions ORDER BY 2')).toEqual([
    { kind: 'send', transaction_id: 't1' },
    { kind: 'receive', transaction_id: 't2' },
    { kind: 'input_output', transaction_id: 't3' },
  ]);
});
