/** What runs for long, and what prepares it: `migrate`, `worker`, `sandbox`. */
import { once } from 'node:events';
import { startWorker, type WorkerPace } from '../app.ts';
import { migrateDatabase } from '../db/migrate.ts';
import { createLog } from '../ops/log.ts';
import { migrateQueue } from '../queue/connection.ts';
import { generateData } from '../sandbox/generate.ts';
import { startSandbox } from '../sandbox/server.ts';
import { failure } from './explain.ts';
import { count } from './format.ts';
import { leave, say } from './output.ts';
import { settings } from './session.ts';

/** Applies what is pending; any number may run at once. */
export async function runMigrate(): Promise<void> {
  const { database, queue } = settings('database', 'queue');
  const { applied } = await migrateDatabase(database.DATABASE_URL);
  await migrateQueue(queue.QUEUE_URL, queue.QUEUE_PREFIX);
  say(
    applied === 0 ? 'Nothing to do: the database is up to date.' : `Applied ${count(applied, 'migration')}.`,
  );
}

/**
 * Works until SIGTERM or SIGINT, then ends between two pages. A second signal ends at once. A worker that neither polls
 * nor works any more ends by itself with exit code 1, for its supervisor to start another.
 */
export async function runWorker(pace?: WorkerPace): Promise<void> {
  const config = settings('database', 'queue', 'credentials', 'calico', 'sync', 'worker', 'events', 'log');
  const log = createLog(config.log.LOG_LEVEL);
  const stop = stopSignal();
  const starting = startWorker(config, log, pace);
  starting.catch(stop.forget);
  // A server that does not answer can hold the start for longer than a stop may take; nothing is under way by then.
  const worker = await Promise.race([starting, stop.heard.then(() => null)]);
  if (worker === null) return void starting.catch(() => {});
  const signal = await Promise.race([stop.heard, worker.silent]);
  if (signal) log.info({ signal }, 'stopping between two pages');
  else
    log.fatal(
      'unhealthy: it has neither polled nor worked for a minute; it ends for its supervisor to start another',
    );
  process.once('SIGTERM', () => void leave(1)).once('SIGINT', () => void leave(1));
  await worker.close();
  log.info('stopped');
  if (!signal) leave(1);
}

export type SandboxCommand = { port: number; customers?: number; transactions: number; seed: number };

/** Serves until SIGTERM or SIGINT, and says how to use it. */
export async function runSandbox({ port, customers, transactions, seed }: SandboxCommand): Promise<void> {
  const stop = stopSignal();
  const data = customers === undefined ? {} : { data: generateData({ customers, transactions, seed }) };
  const sandbox = await startSandbox({ port, logRequests: false, ...data }).catch((error: unknown) => {
    stop.forget();
    throw isPortTaken(error)
      ? failure(`Port ${port} is taken. Next: calico-sync sandbox --port <another>`)
      : error;
  });
  const ids = sandbox.data.customerIds();
  say(`A stand-in Calico with ${count(ids.length, 'customer')}. To use it:

  export CALICO_API_URL=${sandbox.apiUrl}
  export CALICO_AUTH_URL=${sandbox.authUrl}
  export CALICO_CLIENT_ID=${sandbox.clientId}
  export CALICO_CLIENT_SECRET=${sandbox.clientSecret}

Its customers, and tokens for one of them:

  curl -s http://127.0.0.1:${sandbox.port}/sandbox/customers
  curl -s -X POST http://127.0.0.1:${sandbox.port}/sandbox/tokens/${ids[0]} | calico-sync customers add ${ids[0]}

Ctrl-C ends it.`);
  await stop.heard;
  await sandbox.close();
}

function isPortTaken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
}

/** The first SIGTERM or SIGINT from now on, unless it is forgotten before. */
function stopSignal(): { heard: Promise<string>; forget(): void } {
  const controller = new AbortController();
  const { signal } = controller;
  const hear = (name: string) => once(process, name, { signal }).then(() => name);
  const heard = Promise.race([hear('SIGTERM'), hear('SIGINT')]);
  const forget = () => controller.abort();
  heard.then(forget, () => {});
  return { heard, forget };
}
