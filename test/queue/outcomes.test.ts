import { expect, it } from 'vitest';
import { deduplicationId } from '../../src/queue/job.ts';
import type { LastWords } from '../../src/queue/processor.ts';
import type { Outcome } from '../../src/sync/outcome.ts';
import { describeOnBothQueues, type TestQueueBackend } from '../support/queue-backends.ts';
import { waitFor } from '../support/wait-for.ts';
import { done, gate, inAnHour, lastWords, later, onlyJob, openTestQueue, type TestQueue } from './harness.ts';

/** Runs one customer's turns, each as the list says, and `done` after the list. */
async function runTurns(backend: TestQueueBackend, outcomes: Outcome[], words = lastWords) {
  const queue = await openTestQueue(backend);
  const left = [...outcomes];
  let turns = 0;
  await queue.startWorker({
    lastWords: words,
    runSync: async () => {
      turns += 1;
      return left.shift() ?? done;
    },
  });
  await queue.sync.enqueueSync('acme');
  return { queue, turns: () => turns };
}

const untilEmpty = (queue: TestQueue) =>
  waitFor(() => queue.sync.counts(), {
    describe: 'an empty queue',
    until: ({ waiting, active, delayed }) => waiting + active + delayed === 0,
  });

const untilDelayed = (queue: TestQueue) =>
  waitFor(() => queue.sync.counts(), { describe: 'a delayed job', until: (counts) => counts.delayed === 1 });

const untilFailed = (queue: TestQueue) =>
  waitFor(() => queue.sync.counts(), { describe: 'a failed job', until: (counts) => counts.failed === 1 });

describeOnBothQueues('an outcome', (backend) => {
  it.each<Outcome>([
    done,
    { kind: 'fenced', runId: 'run' },
    { kind: 'not_run', reason: 'another worker holds the lease' },
  ])('$kind ends the job and leaves nothing behind', async (outcome) => {
    const { queue, turns } = await runTurns(backend, [outcome]);
    await waitFor(() => turns() === 1, { describe: 'the turn' });
    await untilEmpty(queue);
    expect(await queue.bull.getJobs()).toEqual([]);
    expect(await queue.bull.getDeduplicationJobId(deduplicationId('acme'))).toBeNull();
  });

  it.each<Outcome>([
    later(inAnHour()),
    { kind: 'failed', runId: null, notBefore: inAnHour(), reason: 'the database was away' },
  ])('$kind waits until its time, keeps the customer to one job and spends no attempt', async (outcome) => {
    const { queue } = await runTurns(backend, [outcome]);
    await untilDelayed(queue);
    const job = await onlyJob(queue);
    expect(job.attemptsMade).toBe(0);
    expect(job.delay).toBeGreaterThan(3_500_000);
    expect(await queue.bull.getDeduplicationJobId(deduplicationId('acme'))).toBe(job.id);
  });

  it('later is taken up again when its time has come', async () => {
    const { queue, turns } = await runTurns(backend, [later(new Date(Date.now() + 300))]);
    await waitFor(() => turns() === 2, { describe: 'the second turn' });
    await untilEmpty(queue);
  });

  it('later may happen a hundred times without the job failing', async () => {
    const slices = Array.from({ length: 100 }, () => later(new Date(0), 'slice'));
    const { queue, turns } = await runTurns(backend, slices);
    await waitFor(() => turns() === 101, { describe: 'all slices', timeoutMs: 15_000 });
    await untilEmpty(queue);
    expect(await queue.sync.counts()).toMatchObject({ failed: 0 });
  });

  it('stopped gives the job to another worker at once', async () => {
    const queue = await openTestQueue(backend);
    const started = gate<void>();
    const stopping = await queue.startWorker({
      runSync: (_customer, signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => resolve({ kind: 'stopped', runId: 'run' }));
          started.open();
        }),
    });
    await queue.sync.enqueueSync('acme');
    await started.opened;
    const other = gate<void>();
    await Promise.all([
      stopping.close(5_000),
      queue.startWorker({
        runSync: async () => {
          other.open();
          return done;
        },
      }),
    ]);
    await other.opened;
    await untilEmpty(queue);
    expect(queue.logs.text()).not.toContain('in time');
  });

  it('dead-lettered fails the job with its reason, and the customer can be enqueued again', async () => {
    const reason = 'Calico answered 403: the credentials are not valid any more.';
    const { queue, turns } = await runTurns(backend, [
      { kind: 'dead_lettered', runId: 'run', deadLetterId: '1', reason },
    ]);
    await untilFailed(queue);
    expect(await onlyJob(queue)).toMatchObject({ failedReason: reason });

    await queue.sync.enqueueSync('acme');
    await waitFor(() => turns() === 2, { describe: 'the second job' });
  });
});

describeOnBothQueues('what should not happen', (backend) => {
  it.each([{}, { customerId: '' }, { customerId: 7 }, { customer: 'acme' }, []])(
    'job data %j fails the job with a clear sentence, and the worker goes on',
    async (data) => {
      const shapes: string[] = [];
      const unreadableJob: LastWords['unreadableJob'] = (jobId, shape) => {
        shapes.push(shape);
        return lastWords.unreadableJob(jobId, shape);
      };
      const { queue, turns } = await runTurns(backend, [], { ...lastWords, unreadableJob });
      await queue.bull.add('sync', data);
      await untilFailed(queue);
      expect(shapes).toEqual([
        expect.stringMatching(/^\{("customer(Id)?":"(string|number)")?\}$|^"(object|undefined)"$/),
      ]);
      const [failed] = await queue.bull.getFailed();
      expect(failed?.failedReason).toBe('The job names no customer: expected { customerId }.');
      await waitFor(() => turns() === 1, { describe: "the other customer's sync" });
    },
  );

  it.each([-1, 'three', null])(
    'job data with %j survived stalls is a job with none',
    async (survivedStalls) => {
      const { queue, turns } = await runTurns(backend, []);
      await waitFor(() => turns() === 1, { describe: "the other customer's sync" });
      await queue.bull.add('sync', { customerId: 'second', survivedStalls });
      await waitFor(() => turns() === 2, { describe: 'its turn' });
      await untilEmpty(queue);
      expect(await queue.sync.counts()).toMatchObject({ failed: 0 });
    },
  );

  it('an exception keeps its message, which may hold secrets, out of the queue and the log', async () => {
    const queue = await openTestQueue(backend);
    await queue.startWorker({
      runSync: async () => {
        throw Object.assign(new TypeError('Bearer s3cr3t'), { parameters: ['s3cr3t'] });
      },
    });
    await queue.sync.enqueueSync('acme');
    await untilFailed(queue);
    const stored = JSON.stringify((await onlyJob(queue)).toJSON());
    expect(stored).toContain('The sync broke off on a defect');
    expect(queue.logs.text()).toContain('outcomes.test.ts');
    expect(`${stored}${queue.logs.text()}`).not.toContain('s3cr3t');
  });

  it('a job that the queue lost while it ran is left to the tick, and the worker goes on', async () => {
    const queue = await openTestQueue(backend);
    const first = gate<Outcome>();
    const synced: string[] = [];
    await queue.startWorker({
      runSync: async (customerId) => {
        synced.push(customerId);
        return synced.length === 1 ? first.opened : done;
      },
    });
    await queue.sync.enqueueSync('acme');
    await waitFor(() => synced.length === 1, { describe: 'the first turn' });
    await backend.burn();
    first.open(later(inAnHour()));
    await waitFor(() => queue.logs.count('the tick will'), { describe: 'the refusal to be logged' });

    await queue.sync.enqueueMany(['acme', 'other']);
    await waitFor(() => synced.length === 3, { describe: 'both customers to be synced' });
    await untilEmpty(queue);
  });
});
