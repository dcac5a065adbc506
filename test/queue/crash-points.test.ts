/** Promises 1 and 8: a worker that is killed between two calls to its queue leaves a customer that another one finishes. */
import { expect, it } from 'vitest';
import { crashAtQueueCalls } from '../support/crash/queue-runner.ts';
import { describeOnOneQueue } from '../support/queue-backends.ts';

describeOnOneQueue('a worker', (backend) => {
  it('killed before or after any call that moves its job leaves nothing undone', async () => {
    const { kills, unmet, divergences } = await crashAtQueueCalls(backend, { times: 1 });

    expect(divergences).toEqual([]);
    expect(unmet).toEqual([]);
    expect(kills, 'two for each of adding, taking, putting back and ending a job').toBeGreaterThanOrEqual(8);
  });
});
