/** Promise 5: what Calico sent is what `numeric` holds, from the wire's bytes to the column. */
import { expect, test } from 'vitest';
import { EPOCH_MS, position, transaction, withSource } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

const UINT256 = '115792089237316195423570985008687907853269984665640564039457584007913129639935';
const NUMBERS: Record<string, { wire: string; value: string }> = {
  '78 digits in a string': { wire: `"${UINT256}"`, value: UINT256 },
  '78 digits in a JSON number': { wire: UINT256, value: UINT256 },
  '48 digits before the point and 30 after': {
    wire: `"${'9'.repeat(48)}.${'1234567890'.repeat(3)}"`,
    value: `${'9'.repeat(48)}.${'1234567890'.repeat(3)}`,
  },
  'the smallest of 30 decimals': { wire: '1e-30', value: `0.${'0'.repeat(29)}1` },
  'a small exponent in a string': { wire: '"1.5e-7"', value: '0.00000015' },
  'a large exponent in a number': { wire: '12.5E+20', value: `125${'0'.repeat(19)}` },
  'more than a double holds': { wire: '9007199254740993', value: '9007199254740993' },
  'what a double rounds': { wire: '0.1000000000000000055511151231257827', value: '' },
  'zeros that say how exact it is': { wire: '"7.40"', value: '7.40' },
};

/** The one that does not fit: 34 decimals. */
const TOO_FINE = 'what a double rounds';

test('every amount of a transaction and of its fees, in its columns and in raw', async () => {
  const world = await createWorld();
  for (const [name, { wire }] of Object.entries(NUMBERS)) {
    const side = (symbol: string) =>
      `{"asset_symbol":"${symbol}","amount":${wire},"value":{"amount":${wire},"currency":"USD"}}`;
    const fees = `{"items":[{"asset_symbol":"ETH","amount":${wire},"value":{"amount":${wire},"currency":"USD"}}]}`;
    const record = withSource(transaction('input_output', name), 'input', side('BTC'));
    const both = withSource(JSON.parse(record), 'output', side('ETH'));
    const text = both
      .replace(/"input":\{.*?\}\}/, `"input":${side('BTC')}`)
      .replace(/\}$/, `,"fees":${fees}}`);
    world.data.add('transactions', 'alice', text);
  }
  await world.addCustomer('alice');
  await world.sync('alice');

  const columns = ['input_amount', 'input_value_amount', 'output_amount', 'output_value_amount'];
  const landed = await world.rows<Record<string, string>>(
    `SELECT transaction_id, ${columns.map((column) => `${column}::text`).join(', ')},
       raw #> '{input,amount}' #>> '{}' AS raw_amount,
       f.amount::text AS fee, f.value_amount::text AS fee_value, f.raw ->> 'amount' AS raw_fee
     FROM calico.input_output_transactions t
     JOIN calico.transaction_fees f USING (customer_id, provider_id, transaction_id)`.replaceAll(
      'raw #>',
      't.raw #>',
    ),
  );
  const expected = Object.entries(NUMBERS).filter(([name]) => name !== TOO_FINE);
  expect(landed).toHaveLength(expected.length);
  for (const [name, { wire, value }] of expected) {
    const row = landed.find(({ transaction_id }) => transaction_id === name);
    for (const column of [...columns, 'fee', 'fee_value'])
      expect(row?.[column], `${column}: ${name}`).toBe(value);
    for (const raw of ['raw_amount', 'raw_fee']) {
      // A string stays as it was written; a JSON number keeps its value.
      const isText = wire.startsWith('"');
      expect(isText ? row?.[raw] : await sameNumber(world, row?.[raw], wire), raw).toBe(
        isText ? JSON.parse(wire) : true,
      );
    }
  }
  expect(await world.rows('SELECT raw_text FROM calico.quarantined_records')).toMatchObject([
    { raw_text: expect.stringContaining(NUMBERS[TOO_FINE]?.wire ?? '?') },
  ]);
});

test('every amount of a position and of its history', async () => {
  const world = await createWorld();
  const written = Object.entries(NUMBERS).filter(([name]) => name !== TOO_FINE);
  for (const [name, { wire }] of written) {
    const value = `{"amount":${wire},"currency":"USD"}`;
    const text = withSource(position(name, null), 'quantity', wire);
    world.data.add('assets', 'alice', text.replace(/\}$/, `,"value":${value},"cost_basis":${value}}`));
  }
  await world.addCustomer('alice');
  await world.sync('alice');

  for (const table of ['asset_positions', 'asset_position_history']) {
    const landed = await world.rows<{ asset_symbol: string }>(
      `SELECT asset_symbol, quantity::text, value_amount::text, cost_basis_amount::text FROM calico.${table}`,
    );
    expect(landed).toHaveLength(written.length);
    for (const [name, { value }] of written) {
      expect(landed.find((row) => row.asset_symbol === name)).toEqual({
        asset_symbol: name,
        quantity: value,
        value_amount: value,
        cost_basis_amount: value,
      });
    }
  }
});

test('a debt and a rebate keep their sign; a time keeps its microseconds', async () => {
  const world = await createWorld();
  world.data.add('assets', 'alice', position('USD', '-0.000000000000000000000000000001'));
  const rebate = { items: [{ asset_symbol: 'USD', amount: '-12345678901234567890.5' }] };
  world.data.add(
    'transactions',
    'alice',
    transaction('send', 't1', { fees: rebate, timestamp: '2024-01-01T00:00:00.123456+02:00' }),
  );
  await world.addCustomer('alice');
  await world.sync('alice');

  expect(await world.rows('SELECT quantity::text FROM calico.asset_positions')).toEqual([
    { quantity: '-0.000000000000000000000000000001' },
  ]);
  expect(
    await world.rows(
      `SELECT amount::text, to_char(occurred_at AT TIME ZONE 'UTC', 'HH24:MI:SS.US') AS at
       FROM calico.transaction_fees JOIN calico.transactions USING (transaction_id)`,
    ),
  ).toEqual([{ amount: '-12345678901234567890.5', at: '22:00:00.123456' }]);
  expect(EPOCH_MS).toBe(Date.parse('2024-01-01T00:00:00Z'));
});

async function sameNumber(world: World, a: string | undefined, b: string): Promise<boolean> {
  const [row] = await world.rows<{ same: boolean }>('SELECT $1::numeric = $2::numeric AS same', [a, b]);
  return row?.same ?? false;
}
