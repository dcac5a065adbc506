import { expect, it } from 'vitest';
import { findFreePort } from '../../src/sandbox/embedded-postgres.ts';
import { sends } from '../support/records.ts';
import { start } from './command.ts';
import { createInstallation, expectRuns } from './installation.ts';

it('sync stores its request though the queue is not there, says so, and a worker takes it up', async () => {
  const at = await createInstallation();
  at.data.add('transactions', 'alice', ...sends(1));
  await at.add('alice');
  const queueUrl = `postgres://user:hunter2@127.0.0.1:${await findFreePort()}/queue`;
  const settings = { ...at.settings, QUEUE_URL: queueUrl };

  const { code, stdout, stderr } = await start(settings, 'sync alice --full').finished;
  expect(stdout).toBe('Asked for a full sync of alice.\n');
  expect(stderr).toMatch(
    /^The queue at \S+ cannot be reached: [^\n]+\. The request is in Postgres: [^\n]+\.\n$/,
  );
  expect(stderr).not.toContain('hunter2');
  expect(code).toBe(0);
  const asked = 'SELECT requested_mode AS mode, requested_trigger AS trigger FROM calico.customers';
  expect(await at.rows(asked)).toEqual([{ mode: 'full', trigger: 'manual' }]);

  await at.startWorker();
  await expectRuns(at, ['alice succeeded']);
  expect(await at.rows('SELECT mode, trigger FROM calico.sync_runs')).toEqual([
    { mode: 'full', trigger: 'manual' },
  ]);
});
