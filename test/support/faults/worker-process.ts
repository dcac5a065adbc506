/** A whole worker in a process of its own, to be stalled or killed. Says `working` and what became of each turn, a line each. */
import { openSyncDeps, type SyncSpec } from '../crash/leg.ts';
import type { QueueSpec } from '../crash/queue-leg.ts';
import { startWholeWorker } from './whole-worker.ts';

export type WorkerProcessSpec = { sync: SyncSpec; queue: QueueSpec };

const spec = process.env['WORKER_PROCESS'];
if (spec !== undefined) {
  const { sync, queue }: WorkerProcessSpec = JSON.parse(spec);
  await startWholeWorker({
    ...{ deps: openSyncDeps(sync).deps, queueUrl: queue.url, prefix: queue.prefix, concurrency: 20 },
    onOutcome: ({ kind }) => void process.stdout.write(`${kind}\n`),
  });
  process.stdout.write('working\n');
}
