import { setTimeout as sleep } from 'node:timers/promises';
import type { IQueueBackend } from 'bullmq';
import type { QueueConnection } from './connection.ts';

/** A worker that was refused a job asks again after this long. */
const PAUSE_AFTER_REFUSAL_MS = 1_000;

/** An idle worker asks for work at least this often, delayed jobs or not; without any it is BullMQ's drainDelay, 5 s too. */
const LONGEST_BLOCK_SECONDS = 5;

/**
 * Watches a worker ask its queue for work, because BullMQ does not tell: a worker can sit idle after a reconnect with
 * `isRunning()` still true, and only an answered poll proves otherwise. Two things of the Postgres backend are mended:
 * - with a delayed job in the queue it would next poll in an hour, so that its silence would mean nothing;
 * - while Postgres restarts a busy one asks again at once, some 2,000 times a second, of the server that tries to start.
 */
export function watchPolls(
  open: QueueConnection['backend'],
  watcher: { onPoll: () => void; stopping: AbortSignal },
): QueueConnection['backend'] {
  return (name, options, role) => {
    const backend: IQueueBackend = open(name, options, role);
    const take = backend.moveToActive.bind(backend);
    backend.moveToActive = async (...request) => {
      try {
        const answer = await take(...request);
        watcher.onPoll();
        return answer;
      } catch (error) {
        await sleep(PAUSE_AFTER_REFUSAL_MS, undefined, { signal: watcher.stopping }).catch(() => undefined);
        throw error;
      }
    };
    Object.defineProperty(backend, 'maximumBlockTimeout', { value: LONGEST_BLOCK_SECONDS });
    return backend;
  };
}
