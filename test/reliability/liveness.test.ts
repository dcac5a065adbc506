/** Promise 2: a worker that is stopped where it holds most, inside a transaction, keeps nobody waiting for longer than two leases. */
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { startFastWorker } from '../cli/command.ts';
import { createInstallation, expectRuns, stop } from '../cli/installation.ts';
import { reportFigures } from '../support/figures.ts';
import { sends } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';

const LEASE_MS = 4_000;
const PACE = { leaseMs: LEASE_MS, lockMs: 1_200, tickMs: 150 };

/** Connections that say whose they are. */
function named(databaseUrl: string, name: string): string {
  const url = new URL(databaseUrl);
  url.searchParams.set('application_name', name);
  return url.href;
}

test('the customer of a worker that is stopped in a transaction is taken over within two leases', async (context) => {
  const at = await createInstallation();
  at.data.add('transactions', 'alice', ...sends(5));
  const url = at.settings['DATABASE_URL'] ?? '';
  const startNamed = (name: string) =>
    startFastWorker({ ...at.settings, DATABASE_URL: named(url, name) }, PACE);
  const workers = new Map(['one', 'other'].map((name) => [name, startNamed(name)]));
  for (const worker of workers.values()) await worker.prints('worker started');
  const gatekeeper = new pg.Client({ connectionString: url });
  await gatekeeper.connect();
  onTestFinished(() => gatekeeper.end());
  await gatekeeper.query('BEGIN; LOCK TABLE calico.send_transactions IN EXCLUSIVE MODE');

  await at.add('alice');
  // Its page waits for the table, and the renewal of its lease for the row that the page's transaction has locked.
  const [victim] = await waitFor(
    () =>
      at.rows<{ name: string }>(
        `SELECT application_name AS name FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name = ANY ($1)`,
        [[...workers.keys()]],
      ),
    { describe: 'a page and a renewal to wait', until: ({ length }) => length === 2 },
  );
  const stopped = workers.get(victim?.name ?? '');
  stopped?.signal('SIGSTOP');
  await gatekeeper.query('ROLLBACK');
  const stoppedAt = performance.now();
  const heirs = 'SELECT FROM calico.customers WHERE epoch > (SELECT min(epoch) FROM calico.sync_runs)';
  await waitFor(() => at.rows(heirs), {
    describe: 'alice to be taken over',
    until: ({ length }) => length === 1,
  });
  const tookMs = performance.now() - stoppedAt;

  await expectRuns(at, ['alice abandoned', 'alice succeeded']);
  stopped?.signal('SIGCONT');
  for (const worker of workers.values()) expect(await stop(worker)).toMatchObject({ code: 0, stderr: '' });
  await context.annotate(`taken over after ${Math.round(tookMs)} ms of a lease of ${LEASE_MS} ms`);
  expect(tookMs).toBeLessThan(2 * LEASE_MS);
  expect(await at.rows('SELECT count(*)::int AS rows FROM calico.transactions')).toEqual([{ rows: 5 }]);
  // It woke up, found that the lease was lost, and said so.
  await expectRuns(at, ['alice fenced', 'alice succeeded']);
  reportFigures({
    tried:
      'A worker is stopped (SIGSTOP) inside a transaction, its customer’s row locked and its lease about to be renewed',
    often: 'once',
    result: 'its customer is taken over within two leases',
  });
});
