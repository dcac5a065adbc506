/** A worker that cannot start says why in one sentence, and ends. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createTestDatabase } from '../support/database.ts';
import { commandWith, type Settings } from './command.ts';

const settings: Settings = {
  CREDENTIALS_KEYS: `k1:${randomBytes(32).toString('base64')}`,
  CALICO_CLIENT_ID: 'client',
  CALICO_CLIENT_SECRET: 'secret',
  LOG_LEVEL: 'error',
};

async function startOn(queueUrl: (databaseUrl: string) => string) {
  // Closing it fails where the worker has left a connection behind.
  const database = await createTestDatabase();
  onTestFinished(database.close);
  return commandWith({ ...settings, DATABASE_URL: database.url, QUEUE_URL: queueUrl(database.url) })(
    'worker',
  );
}

describe('a worker ends at once', () => {
  it.each([
    ['Redis', 'redis://default:hunter2@127.0.0.1:1/3', 'redis://127.0.0.1:1/3'],
    ['the Postgres of the queue', 'postgres://user:hunter2@127.0.0.1:1/q', 'postgres://127.0.0.1:1/q'],
  ])('where %s is not there', async (_what, url, shown) => {
    const { code, stdout, stderr } = await startOn(() => url);
    expect(stderr).toMatch(/^The queue at \S+ cannot be reached: [^\n]*\. Check QUEUE_URL [^\n]+\.\n$/);
    expect(stderr).toContain(shown);
    expect(stdout + stderr).not.toContain('hunter2');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });

  it('where the queue on Postgres was never migrated', async () => {
    const { code, stderr } = await startOn((databaseUrl) => databaseUrl);
    expect(stderr).toBe(
      'The queue\'s schema "calico_queue" is not in Postgres. Run `calico-sync migrate`.\n',
    );
    expect(code).toBe(1);
  });
});
