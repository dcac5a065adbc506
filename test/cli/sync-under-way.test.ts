import { expect, it } from 'vitest';
import { createGate, nth } from '../support/gate.ts';
import { sends, transaction } from '../support/records.ts';
import { createInstallation, expectRuns } from './installation.ts';

it('sync --wait does not take the run that is under way for its own: what came since then is here when it ends', async () => {
  // The last page of the first load's second walk.
  const gate = createGate(nth(6, 'transactions'));
  const at = await createInstallation({ sandbox: { onRequest: gate.onRequest } });
  at.data.add('transactions', 'alice', ...sends(5));
  await at.add('alice');
  await at.startWorker();
  await gate.arrival;
  // On the second page, which the run under way has read already.
  at.data.add('transactions', 'alice', transaction('send', 't002-late'));

  const waiting = at.start('sync alice --full --wait');
  await waiting.prints('Asked for a full sync of alice.');
  await waiting.prints('0/1 customer');
  await expectRuns(at, ['alice running']);
  gate.open();

  const { code, stdout } = await waiting.finished;
  expect(stdout).toContain('  transactions: 3 pages, 6 fetched = 1 inserted + 0 updated + 5 unchanged');
  expect(stdout).toContain('1 succeeded, 0 partial, 0 failed.');
  expect(code).toBe(0);
  await expectRuns(at, ['alice succeeded', 'alice succeeded']);
});
