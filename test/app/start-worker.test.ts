/** The composition root: all of it is opened or none, and `close` leaves nothing open. */
import { randomBytes } from 'node:crypto';
import { type Logger, pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { openMigratedDatabase, startWorker, type WorkerConfig } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { migrateQueue } from '../../src/queue/connection.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startReceiver } from '../support/receiver.ts';
import { waitFor } from '../support/wait-for.ts';

const silent: Logger = pino({ level: 'silent' });

function configFor(
  database: TestDatabase,
  queueUrl = database.url,
  more: Record<string, string> = {},
): WorkerConfig {
  const environment = {
    DATABASE_URL: database.url,
    QUEUE_URL: queueUrl,
    CREDENTIALS_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    CALICO_CLIENT_ID: 'client',
    CALICO_CLIENT_SECRET: 'secret',
    ...more,
  };
  return readConfig(environment, 'database', 'queue', 'credentials', 'calico', 'sync', 'worker', 'events');
}

/** Closing it fails where a connection is left open. */
async function openOwnDatabase(): Promise<TestDatabase> {
  const database = await createTestDatabase();
  onTestFinished(database.close);
  return database;
}

async function countOurConnections({ pool }: TestDatabase): Promise<number> {
  const { rowCount } = await pool.query(
    `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'calico-sync'`,
  );
  return rowCount ?? 0;
}

async function expectNoConnections(database: TestDatabase): Promise<void> {
  await waitFor(() => countOurConnections(database), {
    describe: 'the connections to end',
    until: (n) => n === 0,
  });
}

it('a worker that was closed holds no connection, and may be closed again', async () => {
  const database = await openOwnDatabase();
  const config = configFor(database);
  await migrateQueue(config.queue.QUEUE_URL, config.queue.QUEUE_PREFIX);
  const worker = await startWorker(config, silent);
  expect(await countOurConnections(database)).toBeGreaterThan(0);
  await worker.close();
  await worker.close();
  await expectNoConnections(database);
});

it('a worker with a webhook tells what waits, and whose refresh token ends soon though nobody syncs it', async () => {
  const database = await openOwnDatabase();
  const receiver = await startReceiver();
  const config = configFor(database, database.url, {
    EVENTS_WEBHOOK_URL: receiver.url,
    EVENTS_WEBHOOK_SECRET: `whsec_${randomBytes(32).toString('base64')}`,
  });
  await migrateQueue(config.queue.QUEUE_URL, config.queue.QUEUE_PREFIX);
  await database.pool.query(`
    INSERT INTO calico.customers (customer_id, status) VALUES ('alice', 'paused');
    INSERT INTO calico.credentials VALUES ('alice', '', '', 'k1', now(), now() + interval '29 days');
    INSERT INTO calico.event_outbox (event_type, customer_id, data) VALUES ('customer.resumed', 'alice', '{}')`);
  const worker = await startWorker(config, silent);
  const types = await waitFor(() => receiver.received.map(({ body }) => JSON.parse(body).type).sort(), {
    describe: 'both events',
    until: ({ length }) => length === 2,
  });
  await worker.close();
  expect(types).toEqual(['credentials.expiring', 'customer.resumed']);
  const { rows } = await database.pool.query('SELECT DISTINCT status FROM calico.event_outbox');
  expect(rows).toEqual([{ status: 'delivered' }]);
  await expectNoConnections(database);
});

it.each([
  ['is not migrated', (database: TestDatabase) => database.url, 'calico-sync migrate'],
  ['is not there', () => 'postgres://127.0.0.1:1/queue', 'cannot be reached'],
])('a worker whose queue %s closes the database that it had opened', async (_what, queueUrl, problem) => {
  const database = await openOwnDatabase();
  await expect(startWorker(configFor(database, queueUrl(database)), silent)).rejects.toThrow(problem);
  await expectNoConnections(database);
});

it('a database that is behind is closed again', async () => {
  const database = await openOwnDatabase();
  await database.pool.query(
    'DELETE FROM calico.schema_migrations WHERE id = (SELECT max(id) FROM calico.schema_migrations)',
  );
  await expect(openMigratedDatabase(configFor(database), silent)).rejects.toThrow(
    'The database is 1 migration behind. Run `calico-sync migrate`.',
  );
  await expectNoConnections(database);
});
