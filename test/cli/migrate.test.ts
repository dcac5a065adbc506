import { expect, it, onTestFinished } from 'vitest';
import { openQueueConnection } from '../../src/queue/connection.ts';
import { createTestDatabase } from '../support/database.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';
import { commandWith, settingsFor } from './command.ts';

describeOnBothQueues('migrate', (backend) => {
  it('brings an empty database and its queue up to date; until then every command says that it must', async () => {
    const database = await createTestDatabase();
    onTestFinished(database.close);
    await database.pool.query('DROP SCHEMA calico CASCADE');
    const run = commandWith({
      ...settingsFor(database.url, backend.url),
      QUEUE_PREFIX: backend.prefix,
      CALICO_CLIENT_ID: 'x',
      CALICO_CLIENT_SECRET: 'x',
    });

    const early = await Promise.all([run('worker'), run('sync --all --wait')]);
    for (const { code, stderr } of early) {
      expect(stderr).toMatch(/^The database is \d+ migrations? behind\. Run `calico-sync migrate`\.\n$/);
      expect(code).toBe(1);
    }
    expect(await run('migrate')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Applied \d+ migrations?\.\n$/),
    });
    await openQueueConnection(backend.url, backend.prefix).check();
    expect(await run('migrate')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Nothing to do/) });
    expect(await run('customers list')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('customers add'),
    });
  });
});
