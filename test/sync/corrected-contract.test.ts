/** Much of the contract is assumed. Once it is corrected the rows that were read by the old one must not pass as known. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { requestSync } from '../../src/db/customers.ts';
import { syncProcessSpec } from '../support/killable-sync.ts';
import { receiptOf } from '../support/look.ts';
import { sends, transaction } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));

/** A checkout of this repository, where `corrections` replace what the files say. */
async function checkout(corrections: Readonly<Record<string, readonly [string, string]>>): Promise<string> {
  const place = await mkdtemp(join(tmpdir(), 'calico-sync-corrected-'));
  onTestFinished(() => rm(place, { recursive: true }));
  for (const part of ['package.json', 'src', 'test/support/sync-process.ts'])
    await cp(join(REPOSITORY, part), join(place, part), { recursive: true });
  await symlink(join(REPOSITORY, 'node_modules'), join(place, 'node_modules'));
  for (const [file, [before, after]] of Object.entries(corrections)) {
    const source = await readFile(join(place, file), 'utf8');
    expect(source).toContain(before);
    await writeFile(join(place, file), source.replaceAll(before, after));
  }
  return place;
}

type Counts = { inserted: number; updated: number; unchanged: number };

const transactionsOf = async (
  world: World,
  { runId, status }: { runId: string; status: string },
): Promise<Counts> => {
  expect(status).toBe('succeeded');
  const { inserted, updated, unchanged } = await receiptOf(world, runId, 'transactions');
  return { inserted, updated, unchanged };
};

/** A full sync of alice's by the code that is there, or by this repository's. */
async function syncFully(world: World, place: string | null): Promise<Counts> {
  await world.db.run((orm) => requestSync(orm, ['alice'], 'full', 'manual'));
  if (place === null)
    return transactionsOf(world, (await world.sync('alice')) as { runId: string; status: string });
  const child = spawn(process.execPath, ['test/support/sync-process.ts'], {
    cwd: place,
    env: { ...process.env, SYNC_PROCESS: JSON.stringify(syncProcessSpec(world, 'alice')) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [said] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  return transactionsOf(world, JSON.parse(said));
}

test('a name that is corrected in the contract fills its column with the next full sync', async () => {
  const world = await createWorld();
  const named = sends(2).map(({ hash, ...rest }) => ({ ...rest, tx_hash: hash }));
  world.data.add('transactions', 'alice', ...named, transaction('send', 'other', { hash: null }));
  await world.addCustomer('alice');
  expect(await syncFully(world, null)).toEqual({ inserted: 3, updated: 0, unchanged: 0 });
  const hashes = () =>
    world.rows('SELECT transaction_hash AS hash FROM calico.send_transactions ORDER BY transaction_id');
  expect(await hashes()).toEqual([{ hash: null }, { hash: null }, { hash: null }]);

  const corrected = await checkout({
    'src/calico/contract.ts': ['  hash: text,', '  tx_hash: text,'],
    'src/sync/normalize/transactions.ts': ['wire.hash', 'wire.tx_hash'],
  });
  expect(await syncFully(world, corrected)).toEqual({ inserted: 0, updated: 2, unchanged: 1 });
  expect(await hashes()).toEqual([{ hash: null }, { hash: '0xt000' }, { hash: '0xt001' }]);
  expect(await syncFully(world, corrected)).toEqual({ inserted: 0, updated: 0, unchanged: 3 });

  // Whoever takes the correction back gets the rows that belong to that.
  expect(await syncFully(world, null)).toEqual({ inserted: 0, updated: 2, unchanged: 1 });
});
