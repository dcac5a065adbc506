/** What a command works on: a database, a queue, a stand-in Calico that the test fills, and the settings that name them. */
import { onTestFinished } from 'vitest';
import { migrateQueue } from '../../src/queue/connection.ts';
import { createMemoryData, type MemoryData } from '../../src/sandbox/data-memory.ts';
import { type Sandbox, type SandboxOptions, startSandbox } from '../../src/sandbox/server.ts';
import { createTestDatabase } from '../support/database.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  commandWith,
  type Finished,
  type Run,
  type Running,
  type Settings,
  settingsFor,
  start,
} from './command.ts';

export type Installation = {
  sandbox: Sandbox;
  data: MemoryData;
  settings: Settings;
  run: Run;
  start(args: string, settings?: Settings): Running;
  /** A worker that has started. */
  startWorker(settings?: Settings): Promise<Running>;
  /** `customers add` with tokens of the sandbox's, which it gives back. */
  add(customerId: string): Promise<string[]>;
  rows<Row extends object>(text: string, values?: unknown[]): Promise<Row[]>;
};

export type InstallationOptions = {
  sandbox?: Partial<SandboxOptions>;
  /** Default: in the same database. */
  queue?: { url: string; prefix: string };
  settings?: Settings;
};

/** For the test that is running: a migrated database and queue, and a sandbox without customers, in pages of two. */
export async function createInstallation(options: InstallationOptions = {}): Promise<Installation> {
  const data = createMemoryData();
  const database = await createTestDatabase();
  onTestFinished(database.close);
  const queueUrl = options.queue?.url ?? database.url;
  const prefix = options.queue?.prefix ?? 'test_queue';
  await migrateQueue(queueUrl, prefix);
  const sandbox = await startSandbox({ data, ...options.sandbox });
  onTestFinished(sandbox.close);
  const settings: Settings = {
    ...settingsFor(database.url, queueUrl, sandbox),
    QUEUE_PREFIX: prefix,
    CALICO_PAGE_LIMIT: '2',
    ...options.settings,
  };
  const run = commandWith(settings);
  return {
    sandbox,
    data,
    settings,
    run,
    start: (args, more = {}) => start({ ...settings, ...more }, args),
    startWorker: async (more = {}) => {
      const worker = start({ ...settings, ...more }, 'worker');
      await worker.prints('worker started');
      return worker;
    },
    add: async (customerId) => {
      data.addCustomer(customerId);
      const tokens = sandbox.issueTokens(customerId);
      const added = await run(`customers add ${customerId}`, JSON.stringify(tokens));
      if (added.code !== 0) throw new Error(`customers add failed: ${added.stderr}`);
      return [tokens.access_token, tokens.refresh_token];
    },
    rows: async (text, values = []) => (await database.pool.query(text, values)).rows,
  };
}

/** Sends a signal and waits for the end. */
export async function stop(
  running: Running,
  name: 'SIGTERM' | 'SIGINT' = 'SIGTERM',
): Promise<Finished & { tookMs: number }> {
  const began = performance.now();
  running.signal(name);
  const finished = await running.finished;
  return { ...finished, tookMs: performance.now() - began };
}

/** The customers' runs as `customer status`, the first first, as soon as they are these. */
export async function expectRuns({ rows }: Installation, expected: readonly string[]): Promise<void> {
  await waitFor(
    async () => {
      const found = await rows<{ run: string }>(
        `SELECT concat(customer_id, ' ', status) AS run FROM calico.sync_runs ORDER BY started_at`,
      );
      return found.map(({ run }) => run).join(', ');
    },
    {
      describe: `the runs to be ${expected.join(', ')}`,
      until: (seen) => seen === expected.join(', '),
      timeoutMs: 60_000,
    },
  );
}
