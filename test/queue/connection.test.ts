import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { migrateQueue, openQueueConnection } from '../../src/queue/connection.ts';
import { openSyncQueue } from '../../src/queue/enqueue.ts';
import { startSyncWorker } from '../../src/queue/worker.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { collectLogs, done, lastWords } from './harness.ts';

const SECRET = 'hunter2-s3cr3t';

/** What opening a queue and starting a worker at this URL say: their errors, and everything that was logged. */
async function refusals(url: string, prefix = 'nowhere') {
  const { log, text } = collectLogs();
  const connection = openQueueConnection(url, prefix);
  const errors = await Promise.all([
    openSyncQueue({ connection, log }).catch((error: unknown) => error),
    startSyncWorker({ connection, log, concurrency: 1, lastWords, runSync: async () => done }).catch(
      (error: unknown) => error,
    ),
  ]);
  return {
    errors,
    messages: errors.map((error) => (error instanceof Error ? error.message : 'no error')),
    text,
  };
}

describe('a queue URL', () => {
  it.each(['', 'localhost', 'http://localhost', `redis://:${SECRET}@[bad`, `amqp://user:${SECRET}@host`])(
    '%j that is none says what is expected and repeats no password',
    (url) => {
      const open = () => openQueueConnection(url, 'calico');
      expect(open).toThrow('QUEUE_URL must be a redis://, rediss://, postgres:// or postgresql:// URL.');
      expect(open).not.toThrow(SECRET);
    },
  );

  it.each([
    [`redis://user:${SECRET}@queue.example:6380/2`, 'redis://queue.example:6380/2'],
    [`postgresql://user:${SECRET}@db.example/calico?sslmode=require`, 'postgresql://db.example/calico'],
  ])('%s is shown as %s', (url, where) => {
    expect(openQueueConnection(url, 'calico').where).toBe(where);
    expect(JSON.stringify(openQueueConnection(url, 'calico'))).not.toContain(SECRET);
  });

  it.each(['redis', 'postgres'])(
    'of a %s that nobody serves is refused in bounded time, without its password',
    async (scheme) => {
      const closed = createServer().listen(0, '127.0.0.1');
      await once(closed, 'listening');
      const address = closed.address();
      closed.close();
      const port = typeof address === 'object' ? address?.port : 0;
      const { messages, errors, text } = await refusals(`${scheme}://user:${SECRET}@127.0.0.1:${port}/0`);
      for (const message of messages)
        expect(message).toMatch(/^The queue at .* cannot be reached: .*ECONNREFUSED/);
      expect(`${text()}${errors.map((error) => JSON.stringify(error))}`).not.toContain(SECRET);
    },
  );

  it.each(['redis', 'postgres'])(
    'of a %s that accepts and never answers is refused in bounded time',
    async (scheme) => {
      const silent = createServer(() => {}).listen(0, '127.0.0.1');
      await once(silent, 'listening');
      onTestFinished(() => void silent.close());
      const address = silent.address();
      const port = typeof address === 'object' ? address?.port : 0;
      const { messages } = await refusals(`${scheme}://127.0.0.1:${port}/0`);
      for (const message of messages) expect(message).toContain('cannot be reached');
    },
  );
});

describeOnBothQueues('a queue', (backend) => {
  it('that was not migrated says what to do, on Postgres; Redis needs nothing', async () => {
    const fresh = `${backend.prefix}_fresh`;
    const check = () => openQueueConnection(backend.url, fresh).check();
    if (backend.kind === 'redis') return expect(check()).resolves.toBeUndefined();
    const { messages } = await refusals(backend.url, fresh);
    for (const message of messages) {
      expect(message).toBe(`The queue's schema "${fresh}" is not in Postgres. Run \`calico-sync migrate\`.`);
    }
    await Promise.all([migrateQueue(backend.url, fresh), migrateQueue(backend.url, fresh)]);
    await check();
  });
});

describe('a Redis of our own', () => {
  it('that would evict jobs is warned about; a wrong password is refused and stays secret', async () => {
    const port = 20_000 + (process.pid % 20_000);
    const flags = `--port ${port} --save --appendonly no --maxmemory-policy allkeys-lru --requirepass right`;
    const server = spawn('redis-server', flags.split(' '), { stdio: 'ignore' });
    onTestFinished(() => void server.kill());
    const spawned = await Promise.race([
      once(server, 'spawn').then(() => true),
      once(server, 'error').then(() => false),
    ]);
    if (!spawned) return;

    const { log, text } = collectLogs();
    const connection = openQueueConnection(`redis://:right@127.0.0.1:${port}`, 'calico');
    const queue = await waitFor(() => openSyncQueue({ connection, log }), {
      describe: 'redis-server to answer',
    });
    expect(await queue.warnings()).toEqual([
      'Redis may evict jobs when its memory is full (maxmemory-policy is allkeys-lru). Set it to noeviction.',
    ]);
    expect(text()).toContain('Set it to noeviction');
    await queue.close();

    const refused = await refusals(`redis://:${SECRET}@127.0.0.1:${port}`);
    for (const message of refused.messages) expect(message).toContain('WRONGPASS');
    expect(`${refused.text()}${JSON.stringify(refused.errors)}`).not.toContain(SECRET);
  });
});
