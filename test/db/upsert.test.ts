import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assetPositions, sendTransactions, transactionFees } from '../../src/db/schema.ts';
import { batchOf, insert, type RowOf, upsert as upsertBatch } from '../../src/db/upsert.ts';
import { createWorld, type World } from '../support/world.ts';

type Row = RowOf<typeof sendTransactions>;

const OWNER = { customerId: 'alice', runId: randomUUID() };

function send(transactionId: string, fields: Partial<Row> = {}): Row {
  return {
    providerId: 'coinbase',
    transactionId,
    occurredAt: '2024-01-01T00:00:00Z',
    contentHash: '\\x00',
    ...fields,
  };
}

const upsert = ({ db }: World, rows: Row[]) =>
  db.transaction((tx) => upsertBatch(tx, OWNER, batchOf(sendTransactions, rows)));

async function stored(world: World): Promise<Record<string, unknown>[]> {
  return world.rows(
    'SELECT *, now() - first_seen_at < $1 AS seen_now FROM calico.send_transactions ORDER BY transaction_id',
    ['1 minute'],
  );
}

test('what is left out or null is NULL, or the column’s default where it has one', async () => {
  const world = await createWorld();
  await upsert(world, [
    send('a', { description: null }),
    send('b', { description: 'said', outputAmount: '1.50' }),
  ]);

  expect(await stored(world)).toMatchObject([
    { transaction_id: 'a', description: null, output_amount: null, seen_now: true, removed_at: null },
    { transaction_id: 'b', description: 'said', output_amount: '1.50', seen_now: true },
  ]);
});

test('a default that is a literal is taken, too', async () => {
  const world = await createWorld();
  const { providerId, contentHash } = send('a');
  const position = { providerId, contentHash, assetSymbol: 'BTC', quantity: '1' };
  await world.db.transaction((tx) => upsertBatch(tx, OWNER, batchOf(assetPositions, [position])));

  expect(
    await world.rows('SELECT account_id, network, contract_address FROM calico.asset_positions'),
  ).toEqual([{ account_id: '', network: '', contract_address: '' }]);
});

test('a row that is there is replaced, all but since when it is known', async () => {
  const world = await createWorld();
  await upsert(world, [send('a', { description: 'old', firstSeenAt: '2020-01-01T00:00:00Z' })]);
  await world.rows(
    `UPDATE calico.send_transactions SET removed_at = '2021-01-01', last_changed_at = '2021-01-01'`,
  );
  await upsert(world, [send('a', { network: 'mainnet', firstSeenAt: '2024-01-01T00:00:00Z' })]);

  const [row] = await stored(world);
  expect(row).toMatchObject({ description: null, network: 'mainnet', removed_at: null });
  expect(row?.['first_seen_at']).toEqual(new Date('2020-01-01T00:00:00Z'));
  expect(row?.['last_changed_at']).not.toEqual(new Date('2021-01-01T00:00:00Z'));
});

test('no rows are no statement', async () => {
  const world = await createWorld();
  await upsert(world, []);
  expect(await stored(world)).toEqual([]);
});

test('any text reaches its column as it is: quotes, braces, backslashes, the word NULL', async () => {
  const world = await createWorld();
  const text = fc.oneof(
    fc.constantFrom(
      'NULL',
      'null',
      '',
      ' ',
      '{}',
      '{a,b}',
      '"',
      "'",
      '\\',
      '\\"',
      ',',
      '\n',
      '(),',
      '🐈',
      'é',
    ),
    fc.string({ unit: 'grapheme', maxLength: 20 }).filter((value) => !value.includes('\0')),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 20 }), async (texts) => {
      await world.rows('DELETE FROM calico.send_transactions');
      await upsert(
        world,
        texts.map((description, index) =>
          send(`t${String(index).padStart(2, '0')}`, { description, raw: JSON.stringify([description]) }),
        ),
      );
      const rows = await stored(world);
      expect(rows.map(({ description }) => description)).toEqual(texts);
      expect(rows.map(({ raw }) => raw)).toEqual(texts.map((value) => [value]));
    }),
    { numRuns: 40 },
  );
});

test('ten thousand rows are one statement', async () => {
  const world = await createWorld();
  const rows = Array.from({ length: 10_000 }, (_none, position) => ({
    ...{ providerId: 'coinbase', transactionId: 't', position },
    ...{ assetSymbol: 'USD', amount: '1', contentHash: '\\x00' },
  }));
  await world.db.transaction((tx) => upsertBatch(tx, OWNER, batchOf(transactionFees, rows)));

  expect(await world.rows('SELECT count(*)::int AS rows FROM calico.transaction_fees')).toEqual([
    { rows: 10_000 },
  ]);
});

test('batches that overlap in opposite orders do not deadlock', async () => {
  const world = await createWorld();
  const ids = Array.from({ length: 300 }, (_none, index) => `t${index}`);
  const batches = Array.from({ length: 6 }, (_none, index) => (index % 2 === 0 ? ids : ids.toReversed()));

  await Promise.all(
    batches.map((batch, index) =>
      upsert(
        world,
        batch.map((id) => send(id, { description: String(index) })),
      ),
    ),
  );

  expect(await stored(world)).toHaveLength(300);
});

test('the same key twice is refused, not silently one of the two', async () => {
  const world = await createWorld();
  await expect(upsert(world, [send('a'), send('a')])).rejects.toMatchObject({
    kind: 'data',
    sqlState: '21000',
  });
});

test('batches of several tables are inserted together, whichever they are, and none where one cannot be', async () => {
  const world = await createWorld();
  const { providerId, contentHash } = send('a');
  const of = {
    send: (id: string) => batchOf(sendTransactions, [send(id, { description: id, outputAmount: '1.50' })]),
    fees: (id: string) =>
      batchOf(
        transactionFees,
        [0, 1].map((position) => ({
          ...{ providerId, transactionId: id, position, contentHash },
          ...{ assetSymbol: 'USD', amount: `${position}.10` },
        })),
      ),
    position: batchOf(assetPositions, [{ providerId, contentHash, assetSymbol: 'BTC', quantity: '7.4' }]),
  };
  const insertAll = (...batches: Parameters<typeof insert>[2]) =>
    world.db.transaction((tx) => insert(tx, OWNER, batches));
  await insertAll();
  await insertAll(null, null);
  await insertAll(of.send('a'), null, of.fees('a'));
  await insertAll(of.fees('b'), of.position, of.send('b'));
  await insertAll(of.send('c'));
  await expect(insertAll(of.send('d'), of.fees('a'))).rejects.toMatchObject({ sqlState: '23505' });

  expect(await stored(world)).toMatchObject(
    ['a', 'b', 'c'].map((id) => ({
      transaction_id: id,
      description: id,
      output_amount: '1.50',
      last_run_id: OWNER.runId,
    })),
  );
  expect(
    await world.rows(
      'SELECT transaction_id AS id, amount, customer_id FROM calico.transaction_fees ORDER BY 1, position',
    ),
  ).toEqual(
    ['a', 'a', 'b', 'b'].map((id, at) => ({ id, amount: at % 2 ? '1.10' : '0.10', customer_id: 'alice' })),
  );
  expect(await world.rows('SELECT quantity FROM calico.asset_positions')).toEqual([{ quantity: '7.4' }]);
});
