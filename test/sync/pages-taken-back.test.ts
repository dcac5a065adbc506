/**
 * A page's commit does not wait for the disk, a run's end does (PostgreSQL, "Asynchronous Commit"): what a crash of Postgres
 * takes back it takes back whole, and it is fetched again.
 */
import { expect, onTestFinished, test } from 'vitest';
import { BrokenChainError } from '../../src/db/checkpoints.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { startOwnPostgres } from '../support/faults/own-postgres.ts';
import { createGate, nth } from '../support/gate.ts';
import { deadLettersOf, homesOf, runsOf } from '../support/look.ts';
import { sends } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, type World } from '../support/world.ts';

test('pages do not wait for the disk, a run’s beginning and end do, and who is down', async () => {
  const world = await createWorld({ settings: { pageLimit: 2 }, ownDatabase: true });
  // The servers of tests wait for nothing; a session that asks for itself says what it asked for.
  const watch = (table: string) => `
    CREATE TRIGGER waits AFTER INSERT OR UPDATE ON calico.${table} FOR EACH ROW EXECUTE FUNCTION note_waits()`;
  await world.rows(`ALTER DATABASE ${world.database.name} SET synchronous_commit = 'on';
    CREATE TABLE waits (what text, how text);
    CREATE FUNCTION note_waits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO waits VALUES (concat_ws(' ', tg_op, tg_table_name, to_jsonb(new) ->> 'status'),
        current_setting('synchronous_commit')); RETURN NULL; END $$;
    ${['send_transactions', 'checkpoints', 'sync_runs', 'provider_status'].map(watch).join(';')}`);
  world.data.add('transactions', 'alice', ...sends(5));
  await world.addCustomer('alice');
  const waited = () => world.rows('SELECT DISTINCT what, how FROM waits ORDER BY 1, 2');

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });

  expect(await waited()).toEqual([
    { what: 'INSERT checkpoints', how: 'off' },
    { what: 'INSERT send_transactions', how: 'off' },
    { what: 'INSERT sync_runs running', how: 'on' },
    { what: 'UPDATE checkpoints', how: 'off' },
    { what: 'UPDATE sync_runs running', how: 'off' }, // what was refreshed: asked again where that is lost
    { what: 'UPDATE sync_runs succeeded', how: 'on' },
  ]);

  await world.rows('TRUNCATE waits');
  const answer = { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] };
  world.sandbox.faults.add({ endpoint: 'refreshAssets', times: 1, answer });
  await world.makeDue('alice');
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'partial' });
  expect(await waited()).toEqual(
    expect.arrayContaining([
      { what: 'INSERT provider_status', how: 'on' },
      { what: 'UPDATE sync_runs running', how: 'on' },
    ]),
  );
});

test('pages that a crash of Postgres takes back are gone with their counts and cursor, and land once after it', async () => {
  const postgres = await startOwnPostgres({ synchronous_commit: 'on' });
  const gate = createGate(nth(4, 'transactions'));
  const world = await createWorld({
    database: postgres.database,
    settings: { pageLimit: 2 },
    sandbox: { onRequest: gate.onRequest },
  });
  world.data.add('transactions', 'alice', ...sends(9));
  await world.addCustomer('alice');
  const walWriter = await stopWalWriter(world);
  const outcome = world.sync('alice');
  await gate.arrival;
  await waitFor(() => standing(world), { describe: 'three pages', until: ({ pages }) => pages === 3 });

  const restarted = postgres.restart('crash');
  process.kill(walWriter, 'SIGKILL'); // the server starts when all of the dead one's processes are gone
  await restarted;
  // A connection of before may be noticed to be dead only when it is used.
  const answered = { describe: 'Postgres to answer', until: () => true };
  const { pages, rows, fetched } = await waitFor(() => standing(world), answered);
  expect(pages, 'what nobody had waited for').toBeLessThan(3);
  expect({ rows, fetched }).toEqual({ rows: 2 * pages, fetched: 2 * pages });
  gate.open();
  // Its lease stands, its pages do not: nobody is told that calico-sync failed.
  const reason =
    'Postgres has lost the latest pages, as in a crash (the transactions page does not follow what is there)';
  expect(await outcome).toMatchObject({ kind: 'later', reason });
  expect(await world.rows('SELECT failures FROM calico.sync_runs')).toEqual([
    { failures: { 'taken back': 1 } },
  ]);

  await world.expireLease('alice');
  await world.makeDue('alice');
  expect(await world.syncToEnd('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(Object.keys(await homesOf(world, 'alice'))).toHaveLength(9);
  expect(await world.rows('SELECT FROM calico.sync_run_streams WHERE NOT balanced')).toEqual([]);
  expect((await runsOf(world, 'alice')).at(-1)).toMatchObject({ status: 'succeeded' });
});

test('where pages are gone each time, the eighth try is a dead letter that says whom to ask', async () => {
  const world = await createWorld({ settings: { pageLimit: 1 } });
  world.data.add('transactions', 'alice', ...sends(2));
  await world.addCustomer('alice');
  const db: typeof world.db = {
    ...world.db,
    transaction: (work, options) =>
      world.db.transaction((tx) => {
        const query: typeof tx.query = async (name, ...rest) => {
          if (name === 'advance') throw new BrokenChainError('transactions');
          return tx.query(name, ...rest);
        };
        return work({ ...tx, query });
      }, options),
  };
  const kinds: string[] = [];
  while (!kinds.includes('dead_lettered') && kinds.length < 20) {
    kinds.push((await runSync({ ...world.deps, db }, 'alice', new AbortController().signal)).kind);
    await world.makeDue('alice');
  }

  expect(kinds).toEqual([...Array(7).fill('later'), 'dead_lettered']);
  expect(await deadLettersOf(world, 'alice')).toMatchObject([
    {
      cause: 'taken back',
      evidence: { nextStep: expect.stringContaining('if it did not crash, report it') },
    },
  ]);
});

/** Nobody writes the log then but those who wait for it. Returns the process, which is asleep. */
async function stopWalWriter(world: World): Promise<number> {
  const [row] = await world.rows<{ pid: number }>(
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'",
  );
  const pid = row?.pid ?? 0;
  process.kill(pid, 'SIGSTOP');
  onTestFinished(() => {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {} // it is gone
  });
  return pid;
}

/** Pages, rows and counts of the transactions, by three tables. */
async function standing(world: World): Promise<{ pages: number; rows: number; fetched: number }> {
  const [row] = await world.rows<{ pages: number; rows: number; fetched: number }>(
    `SELECT coalesce((SELECT pages_done FROM calico.checkpoints WHERE stream = 'transactions'), 0)::int AS pages,
       (SELECT count(*) FROM calico.send_transactions)::int AS rows,
       coalesce((SELECT sum(fetched) FROM calico.sync_run_streams WHERE stream = 'transactions'), 0)::int AS fetched`,
  );
  return row ?? { pages: 0, rows: 0, fetched: 0 };
}
