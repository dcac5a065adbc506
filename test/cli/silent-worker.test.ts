/** Liveness: a worker that is of no use any more says so and ends, for its supervisor to start another. */
import { expect, it, onTestFinished } from 'vitest';
import { openBreakableLink } from '../support/breakable-link.ts';
import { createGate, nth } from '../support/gate.ts';
import { sends } from '../support/records.ts';
import { startFastWorker } from './command.ts';
import { createInstallation } from './installation.ts';

/** Twelve checks without a sign of life: six seconds, of which an idle worker is silent for five. */
const PACE = { checkEveryMs: 500 };

it('ends with 1 when its queue hangs for longer than its limit, and puts down what it was at', async () => {
  const gate = createGate(nth(2, 'transactions'));
  const at = await createInstallation({ sandbox: { onRequest: gate.onRequest } });
  at.data.add('transactions', 'alice', ...sends(5));
  await at.add('alice');
  const link = await openBreakableLink(at.settings['QUEUE_URL'] ?? '', 5432);
  onTestFinished(link.close);
  const worker = startFastWorker({ ...at.settings, QUEUE_URL: link.url }, PACE);
  await gate.arrival;
  link.freeze();

  const { code, stdout, stderr } = await worker.finished;

  expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
  const fatal = stdout.split('\n').filter((line) => line.startsWith('{"level":60'));
  expect(fatal).toEqual([expect.stringContaining('"msg":"unhealthy: it has neither polled nor worked')]);
  expect(await at.rows('SELECT lease_until FROM calico.customers')).toEqual([{ lease_until: null }]);
  expect(await at.rows('SELECT status, reason FROM calico.sync_runs')).toEqual([
    { status: 'waiting', reason: expect.stringContaining('its worker stopped') },
  ]);
});
