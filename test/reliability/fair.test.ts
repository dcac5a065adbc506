/** Promise 11 at full size: real worker, queue and database; in `npm test` is the order of turns (test/queue/fairness.test.ts). */
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { startWorker } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { migrateQueue } from '../../src/queue/connection.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { specOf } from '../support/crash/runner.ts';
import { reportFigures } from '../support/figures.ts';
import { describeOnOneQueue, type TestQueueBackend } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, type World } from '../support/world.ts';

const LARGE = 200_000;
const SMALL = 20;
const SMALL_CUSTOMERS = 500;

describeOnOneQueue('one worker that syncs one customer at a time', (backend) => {
  test('has done every small customer before a tenth of the large one, and then does all of it', async () => {
    const sizeOf = (index: number) => (index === 0 ? LARGE : SMALL);
    const data = generateData({ customers: 1 + SMALL_CUSTOMERS, transactions: sizeOf, seed: 1 });
    const world = await createWorld({ sandbox: { data, logRequests: false } });
    const customerIds = data.customerIds();
    for (const customerId of customerIds) await world.addCustomer(customerId); // the large one first: it is due first
    await work(world, backend, customerIds.length);

    expect(await receiptsIn(world)).toEqual(
      customerIds.map((customerId, index) => {
        const [status, count] = ['succeeded', sizeOf(index)];
        const fetched = index === 0 ? 2 * count : count; // its pages are walked twice
        return { customerId, status, fetched, rows: count, complete: true, balanced: true };
      }),
    );
    const done = await doneBeforeTheLastOther(world, customerIds[0] ?? '');
    expect(done, 'the large one was at it before the last small one was done').toBeGreaterThan(0);
    expect(done).toBeLessThan(LARGE / 10);
    reportFigures({
      tried:
        'A customer with 200,000 transactions is due before 500 small ones, and one worker takes one at a time',
      often: 'once',
      result:
        'every small one is done before a tenth of the large one is; then all of it is there and its receipt balances',
    });
  });
});

/** The product's own worker with its own settings, budget aside, until so many runs have ended. */
async function work(world: World, backend: TestQueueBackend, runs: number): Promise<void> {
  const { databaseUrl, apiUrl, authUrl, clientId, clientSecret, keyBase64 } = specOf(world);
  const environment = {
    DATABASE_URL: databaseUrl,
    QUEUE_URL: backend.url,
    QUEUE_PREFIX: backend.prefix,
    CREDENTIALS_KEYS: `test:${keyBase64}`,
    CALICO_API_URL: apiUrl,
    CALICO_AUTH_URL: authUrl,
    CALICO_CLIENT_ID: clientId,
    CALICO_CLIENT_SECRET: clientSecret,
    CALICO_RATE_LIMIT: '10000',
    CALICO_REFRESH_SETTLE_MS: '0',
    WORKER_CONCURRENCY: '1',
  };
  await migrateQueue(backend.url, backend.prefix);
  const parts = ['database', 'queue', 'credentials', 'calico', 'sync', 'worker', 'events'] as const;
  const worker = await startWorker(readConfig(environment, ...parts), pino({ level: 'silent' }));
  onTestFinished(worker.close);
  const ended = 'SELECT count(*)::int AS runs FROM calico.sync_runs WHERE finished_at IS NOT NULL';
  await waitFor(async () => (await world.rows<{ runs: number }>(ended))[0]?.runs, {
    describe: `${runs} runs to end`,
    until: (seen) => seen === runs,
    timeoutMs: 300_000,
  });
}

/** What each run says of its transactions, beside how many there are. */
function receiptsIn(world: World): Promise<object[]> {
  return world.rows(
    `SELECT customer_id AS "customerId", r.status, fetched, complete,
       (SELECT bool_and(balanced) FROM calico.sync_run_streams WHERE run_id = r.run_id) AS balanced,
       (SELECT count(*)::int FROM calico.transactions t WHERE t.customer_id = r.customer_id) AS rows
     FROM calico.sync_runs r JOIN calico.sync_run_streams USING (run_id)
     WHERE stream = 'transactions' ORDER BY customer_id`,
  );
}

/** How many of the customer's transactions were committed when the last of the others ended its run: one worker, one clock. */
async function doneBeforeTheLastOther(world: World, customerId: string): Promise<number> {
  const [found] = await world.rows<{ done: number }>(
    `SELECT count(*)::int AS done FROM calico.transactions WHERE customer_id = $1
       AND first_seen_at < (SELECT max(finished_at) FROM calico.sync_runs WHERE customer_id <> $1)`,
    [customerId],
  );
  return found?.done ?? 0;
}
