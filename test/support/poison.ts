/** Many records of which some are poison, whichever way, synced whole: what must be true of every run. */
import { expect } from 'vitest';
import { receiptOf, runsOf } from './look.ts';
import { transaction } from './records.ts';
import { createWorld } from './world.ts';

/** Ways in which one record is refused, by whom. */
const POISONS = [
  ['the contract', { output: { asset_symbol: 'ETH', amount: 'much' } }],
  ['the kind’s shape', { output: null }],
  ['Postgres, by a constraint', { description: 'poison' }],
  ['no reader at all', { transaction_id: 7 }],
] as const;

/** One record of a hundred is poison, each time in another place and another way. */
const EVERY = 100;

/** Two runs over `size` records, the second a full one: all that are sound land in both, the others are kept and counted. */
export async function expectSoundOnesLand(size: number): Promise<void> {
  const world = await createWorld({ ownDatabase: true, settings: { slicePages: size } });
  await world.rows(`ALTER TABLE calico.send_transactions ADD CHECK (description <> 'poison')`);
  const poisoned = size / EVERY;
  const records = Array.from({ length: size }, (_none, index) => {
    const block = Math.floor(index / EVERY);
    const isPoison = index % EVERY === (block * 37) % EVERY;
    const [, fields] = POISONS[block % POISONS.length] ?? POISONS[0];
    return transaction('send', `t${String(index).padStart(6, '0')}`, {
      hash: `0x${index}`,
      description: 'sound',
      ...(isPoison ? fields : {}),
    });
  });
  world.data.add('transactions', 'alice', ...records);
  await world.addCustomer('alice');

  // A first load takes two walks; in the second all is known, the poisoned ones too.
  for (const [fetched, inserted, unchanged] of [
    [2 * size, size - poisoned, size],
    [size, 0, size - poisoned],
  ]) {
    await world.rows(`UPDATE calico.customers SET requested_mode = 'full', next_sync_at = now()`);
    expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'done', status: 'partial' });
    const run = (await runsOf(world, 'alice')).at(-1);
    expect(await receiptOf(world, run?.run_id ?? '', 'transactions')).toMatchObject({
      fetched,
      inserted,
      unchanged,
      quarantined: poisoned,
      balanced: true,
      complete: true,
    });
  }
  expect(
    await world.rows(
      `SELECT count(*)::int, bool_and(description = 'sound') AS sound FROM calico.transactions`,
    ),
  ).toEqual([{ count: size - poisoned, sound: true }]);
  expect(
    await world.rows(
      `SELECT count(*)::int, min(times_seen) AS least, max(times_seen) AS most FROM calico.quarantined_records
       WHERE resolved_at IS NULL`,
    ),
  ).toEqual([{ count: poisoned, least: 3, most: 3 }]);
  expect(world.logged.filter((line) => line.includes('"level":50'))).toEqual([]);
}
