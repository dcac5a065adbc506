/** SIGTERM (promise 12): a worker ends between two pages, and its run goes on in another. */
import { expect, it } from 'vitest';
import { createGate, nth } from '../support/gate.ts';
import { describeOnBothQueues } from '../support/queue-backends.ts';
import { sends } from '../support/records.ts';
import { createInstallation, expectRuns, stop } from './installation.ts';

const TEN_SECONDS = 10_000;

describeOnBothQueues('a worker at a page that does not come', (backend) => {
  it('ends at SIGTERM; the run waits, and another worker finishes it at its checkpoint', async () => {
    const gate = createGate(nth(2, 'transactions'));
    const at = await createInstallation({ queue: backend, sandbox: { onRequest: gate.onRequest } });
    at.data.add('transactions', 'alice', ...sends(5));
    await at.add('alice');
    const worker = await at.startWorker();
    await gate.arrival;

    const { code, tookMs, stderr } = await stop(worker);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(tookMs).toBeLessThan(TEN_SECONDS);
    await expectRuns(at, ['alice waiting']);

    at.sandbox.clearRequests();
    await at.startWorker();
    await expectRuns(at, ['alice succeeded']);
    expect(await at.rows('SELECT count(*)::int AS n FROM calico.transactions')).toEqual([{ n: 5 }]);
    const pages = at.sandbox.requestsFor({ endpoint: 'transactions', method: 'GET' });
    expect(
      pages.map(({ query }) => 'cursor' in query),
      'two pages, the second walk of a first load, and the first looked at again',
    ).toEqual([true, true, ...[false, true, true], false]);
  });
});
