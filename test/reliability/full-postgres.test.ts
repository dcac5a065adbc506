/** A Postgres that is full: its disk, or its connections. What it cannot take waits, and lands when it can. */
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/db/client.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { startOwnPostgres } from '../support/faults/own-postgres.ts';
import { mountTinyDisk, type TinyDisk } from '../support/faults/tiny-disk.ts';
import { reportFigures } from '../support/figures.ts';
import { deadLettersOf } from '../support/look.ts';
import { sends } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, type World } from '../support/world.ts';

const RECORDS = 2_000;

/** Fills the tables' disk and empties it again; where a test may mount none, inserts say that it is full. */
async function diskUnder(world: World, tables: string, ownedAs: string): Promise<Omit<TinyDisk, 'path'>> {
  const disk = await mountTinyDisk(ownedAs);
  if (disk) {
    await world.rows(`CREATE TABLESPACE tiny LOCATION '${disk.path}'`);
    await world.rows(`DO $$ DECLARE name regclass; BEGIN
      FOR name IN SELECT oid FROM pg_class WHERE relnamespace = 'calico'::regnamespace AND relkind = 'r' AND relname ~ '${tables}'
      LOOP EXECUTE format('ALTER TABLE %s SET TABLESPACE tiny', name); END LOOP; END $$`);
    return disk;
  }
  await world.rows(`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$`);
  return {
    fill: async () =>
      void (await world.rows(
        'CREATE TRIGGER full_disk BEFORE INSERT ON calico.send_transactions EXECUTE FUNCTION full_disk()',
      )),
    empty: async () => void (await world.rows('DROP TRIGGER full_disk ON calico.send_transactions')),
  };
}

test.each([
  ['of the customers’ rows', 'transactions$'],
  ['of everything', '.'],
])(
  'the disk %s is full in the middle of a sync: a dead letter says so, or nothing could; then all lands',
  async (_what, tables) => {
    const { database, dir } = await startOwnPostgres();
    const world = await createWorld({ database, random: () => 0 });
    world.data.add('transactions', 'alice', ...sends(RECORDS));
    await world.addCustomer('alice');
    const disk = await diskUnder(world, tables, dir);
    let pages = 0;
    const client: typeof world.deps.client = {
      send: async (request) => {
        if (request.endpoint === 'transactions' && ++pages === 3) {
          // The third page is asked for while the second is written.
          await waitFor(() => landed(world), {
            describe: 'the two pages before',
            until: (rows) => rows === 200,
          });
          await disk.fill();
        }
        return world.deps.client.send(request);
      },
    };

    const ended = new Set<string>();
    // More turns than a run has tries.
    for (let turn = 0; turn < 10 && !ended.has('dead_lettered'); turn++) {
      const outcome = await runSync({ ...world.deps, client }, 'alice', new AbortController().signal);
      ended.add(outcome.kind);
      expect(outcome).toMatchObject({
        reason: expect.stringContaining('no disk space is left: could not extend'),
      });
      // Nor could this be written, perhaps.
      await world.expireLease('alice').catch(() => {});
      await world.makeDue('alice').catch(() => {});
    }
    expect([...ended].filter((kind) => !['later', 'failed', 'dead_lettered'].includes(kind))).toEqual([]);
    expect(await landed(world)).toBe(200);

    await disk.empty();
    await world.rows('UPDATE calico.customers SET next_sync_at = now(), lease_until = NULL');
    await world.makeDue('alice');
    expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
    expect(await landed(world)).toBe(RECORDS);
    const letters = await deadLettersOf(world, 'alice');
    expect(letters).toEqual(letters.map(() => expect.objectContaining({ resolved_at: expect.any(Date) })));
    reportFigures({
      tried: 'The disk of the rows, or of all tables, is full in the middle of a sync',
      often: 'once each',
      result:
        'tried again, then a dead letter that says so where it can be written; when there is space everything lands',
    });
  },
);

async function landed({ rows }: World): Promise<number> {
  const [counted] = await rows<{ n: number }>('SELECT count(*)::int AS n FROM calico.transactions');
  return counted?.n ?? 0;
}

test('a Postgres without a free connection is tried again later, and nothing of the customer is touched', async () => {
  const { database } = await startOwnPostgres({ max_connections: '12' });
  const world = await createWorld({ database });
  world.data.add('transactions', 'alice', ...sends(5));
  await world.addCustomer('alice');
  const others: pg.Client[] = [];
  onTestFinished(async () => {
    for (const other of others) await other.end();
  });
  const refusal = await takeAll(database.url, others);
  expect(refusal).toMatchObject({ code: '53300' });
  const db = openDatabase({ url: database.url, maxConnections: 1 });
  onTestFinished(() => db.close());
  const sync = () => runSync({ ...world.deps, db }, 'alice', new AbortController().signal);

  const reason = expect.stringContaining('no connection is left; see max_connections');
  expect(await sync()).toMatchObject({ kind: 'failed', runId: null, reason });
  for (const other of others.splice(0)) await other.end();
  expect(await waitFor(sync, { describe: 'a sync', until: ({ kind }) => kind !== 'failed' })).toMatchObject({
    kind: 'done',
    status: 'succeeded',
  });
  reportFigures({
    tried: 'Postgres has no connection left when a sync begins',
    often: 'once',
    result: 'nothing is written; the next turn does it all',
  });
});

/** Until Postgres refuses one; gives its refusal. */
async function takeAll(connectionString: string, taken: pg.Client[]): Promise<unknown> {
  for (;;) {
    const other = new pg.Client({ connectionString });
    try {
      await other.connect();
    } catch (error) {
      return error;
    }
    taken.push(other);
  }
}
