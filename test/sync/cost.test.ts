/**
 * What a page costs Postgres: statements, round trips and WAL, of a page that is new, one that nothing changed in, and one
 * with a changed row. No clock: these are the figures by which a change that makes the worker slower is seen.
 *
 * A page's cost is what a sync of three pages has more than one of two.
 */
import { expect, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/db/client.ts';
import { requestSync } from '../../src/db/customers.ts';
import { TRANSACTION_KINDS } from '../../src/db/schema.ts';
import { createFleet } from '../../src/sync/fleet.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { fee, transaction } from '../support/records.ts';
import { openCountingDoor } from '../support/round-trips.ts';
import { createWorld, UNLIMITED, type World } from '../support/world.ts';

const PAGE = 100;

/** All six kinds in turn, each with a fee. */
function record(index: number, description: string): object {
  const kind = TRANSACTION_KINDS[index % TRANSACTION_KINDS.length] ?? 'send';
  const id = `t${String(index).padStart(6, '0')}`;
  return transaction(kind, id, { description, fees: { items: [fee('0.10')] } });
}

type Cost = { statements: string[]; roundTrips: number; walBytes: number };

/** Syncs customers through a door that counts; each run is a full one. */
async function openMeter(world: World) {
  const door = await openCountingDoor(world.database.url);
  const db = openDatabase({ url: door.url, maxConnections: 2 });
  onTestFinished(async () => {
    await db.close();
    await door.close();
  });
  // Looks once whether all workers wait, not by the clock.
  const { log, now, random } = world.deps;
  const rest = { db, limiter: UNLIMITED, log, now, random, maxWaitMs: 60_000 };
  const deps = { ...world.deps, db, fleet: createFleet({ ...rest, lookEveryMs: 3_600_000 }) };
  await world.rows('CREATE EXTENSION IF NOT EXISTS pg_walinspect');
  // The server is shared, and whose test ends in a checkpoint takes away the log that is to be read: a slot keeps it.
  await world.rows("SELECT pg_create_physical_replication_slot('cost_test', true)");
  // Nor does anybody vacuum or analyze here by the clock, which would be written there too.
  await world.rows(`DO $$ DECLARE name regclass; BEGIN
    FOR name IN SELECT oid FROM pg_class WHERE relnamespace = 'calico'::regnamespace AND relkind = 'r'
    LOOP EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', name); END LOOP; END $$`);
  onTestFinished(async () => {
    await world.rows("SELECT pg_drop_replication_slot('cost_test')");
  });

  return async (customerId: string): Promise<Cost> => {
    await world.db.run((orm) => requestSync(orm, [customerId], 'full', 'manual'));
    const from = await flushedTo(world);
    const before = { statements: door.statements().length, roundTrips: door.roundTrips() };
    const outcome = await runSync(deps, customerId, new AbortController().signal);
    expect(outcome).toMatchObject({ kind: 'done', status: 'succeeded' });
    return {
      // One a set of kinds, numbered as they came.
      statements: door
        .statements()
        .slice(before.statements)
        .map((name) => name.replace(/^(insert_page)_\d+$/, '$1')),
      roundTrips: door.roundTrips() - before.roundTrips,
      walBytes: await walSince(world, from),
    };
  };
}

/** The end of the log on disk. Whatever was written before is in it, also where commits do not wait for the disk: this one does. */
async function flushedTo({ rows }: World): Promise<string> {
  await rows(
    `SELECT set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'calico-sync', '')`,
  );
  const [row] = await rows<{ lsn: string }>('SELECT pg_current_wal_flush_lsn() AS lsn');
  return row?.lsn ?? '';
}

/** Bytes of WAL about this database's tables, without images of whole pages: those come by the checkpoint's clock. */
async function walSince(world: World, from: string): Promise<number> {
  const [row] = await world.rows<{ bytes: string }>(
    `SELECT sum(record_length - fpi_length) AS bytes FROM pg_get_wal_records_info($1, $2)
     WHERE block_ref LIKE '%/' || (SELECT oid FROM pg_database WHERE datname = current_database()) || '/%'`,
    [from, await flushedTo(world)],
  );
  return Number(row?.bytes);
}

/** Of three: Postgres prunes pages and vacuums its catalog when it likes, which only adds. */
async function least(measure: () => Promise<Cost>): Promise<Cost> {
  const costs = [await measure(), await measure(), await measure()];
  return costs.reduce((one, other) => (other.walBytes < one.walBytes ? other : one));
}

/** What is in `more` beyond `less`, by name and number. */
function beyond(more: readonly string[], less: readonly string[]): string[] {
  const left = [...more];
  for (const name of less) {
    const at = left.indexOf(name);
    if (at < 0) throw new Error(`${name} is in the smaller sync only`);
    left.splice(at, 1);
  }
  return left.toSorted();
}

const difference = (more: Cost, less: Cost): Cost => ({
  statements: beyond(more.statements, less.statements),
  roundTrips: more.roundTrips - less.roundTrips,
  walBytes: more.walBytes - less.walBytes,
});

/** Every page has these. */
const EACH_PAGE = ['BEGIN', 'COMMIT', 'add_to_receipt', 'advance', 'hold_lease', 'record_page', 'settle_met'];
/** A page that is looked at first. */
const SEEN_PAGE = [...EACH_PAGE, 'glance_at_transactions'];
/** One that is taken for new, and is. */
const NEW_PAGE = [...EACH_PAGE, 'refuse_known', 'insert_page'];

test('statements, round trips and WAL of a page: new, unchanged, with one changed row', async () => {
  const world = await createWorld({ settings: { slicePages: 1_000 }, ownDatabase: true });
  const sync = await openMeter(world);
  for (const [customerId, pages] of [
    ['warm-up', 1],
    ['two', 2],
    ['three', 3],
  ] as const) {
    const records = Array.from({ length: pages * PAGE }, (_none, index) => record(index, 'as it was'));
    world.data.add('transactions', customerId, ...records);
    await world.addCustomer(customerId);
  }
  await sync('warm-up');

  // What a turn costs beside its pages, every hour for every customer: a page of each stream, nothing new.
  const hourly = await sync('warm-up');
  expect({ statements: hourly.statements.length, roundTrips: hourly.roundTrips }).toEqual({
    statements: 65,
    roundTrips: 27,
  });

  const fresh = { two: await sync('two'), three: await sync('three') };
  const first = difference(fresh.three, fresh.two);
  // In the second walk of a first load nothing is new.
  expect(first).toMatchObject({
    statements: [...NEW_PAGE, ...SEEN_PAGE].toSorted(),
    roundTrips: 1 + 2,
  });

  expect(fresh.two.statements, 'no page that is known was taken for new').not.toContain('ROLLBACK');

  // One whose first record the page before it held, too, is written again with a look, and not in halves.
  const records = Array.from({ length: 2 * PAGE - 1 }, (_none, index) => record(index, 'as it was'));
  world.data.add('transactions', 'repeated', ...records, record(PAGE - 1, 'as it is'));
  await world.addCustomer('repeated');
  const { statements: repeated } = await sync('repeated');
  expect(repeated.filter((statement) => statement === 'ROLLBACK')).toHaveLength(1);
  expect(repeated.filter((statement) => statement.startsWith('SAVEPOINT'))).toEqual([]);

  const same = { two: await least(() => sync('two')), three: await least(() => sync('three')) };
  const unchanged = difference(same.three, same.two);
  expect(unchanged).toMatchObject({ statements: SEEN_PAGE.toSorted(), roundTrips: 2 });

  let changes = 0;
  const changed = await least(() => {
    world.data.replace('transactions', 'three', 't000150', record(150, `as it is ${++changes}`));
    return sync('three');
  });
  const one = difference(changed, same.three);
  expect(one).toMatchObject({
    statements: ['delete_fees', 'find_transactions', 'upsert_send_transactions', 'upsert_transaction_fees'],
    roundTrips: 1,
  });

  // 1,166 to 1,178 bytes a row, 16 to 20, 1,180 to 1,674 for the changed one. A row that is only locked is 54.
  const [newRow, sameRow] = [(first.walBytes - unchanged.walBytes) / PAGE, unchanged.walBytes / PAGE];
  expect(newRow).toBeLessThan(1_200);
  expect(sameRow).toBeLessThan(22);
  expect(one.walBytes).toBeLessThan(1_800);
});
