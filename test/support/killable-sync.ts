import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { SandboxRequest } from '../../src/sandbox/server-log.ts';
import { COMPILE_CACHE, QUICK_IMPORTS } from './child-process.ts';
import type { SyncProcessSpec } from './sync-process.ts';
import type { World } from './world.ts';

const SCRIPT = fileURLToPath(new URL('sync-process.ts', import.meta.url));

/** A sync in a process of its own. */
export type SyncProcess = {
  /** SIGKILL, and gone. */
  kill(): Promise<void>;
  /** Rejects when it ends by itself, which no test here wants. */
  endsByItself: Promise<never>;
};

/** What such a process is told. */
export function syncProcessSpec({ deps, database, sandbox }: World, customerId: string): SyncProcessSpec {
  const key = deps.keys.get('test');
  if (!key) throw new Error('the world has no key "test"');
  const { apiUrl, authUrl, clientId, clientSecret } = sandbox;
  return {
    ...{ customerId, apiUrl, authUrl, clientId, clientSecret, settings: deps.settings },
    databaseUrl: database.url,
    keyBase64: key.toString('base64'),
  };
}

/** Starts one turn of the customer's sync in a process of its own, which ends with the test at the latest. */
export function startSyncProcess(world: World, customerId: string): SyncProcess {
  const spec = syncProcessSpec(world, customerId);
  const child = spawn(process.execPath, [...QUICK_IMPORTS, SCRIPT], {
    env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE, SYNC_PROCESS: JSON.stringify(spec) },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = once(child, 'exit');
  const kill = async () => {
    if (isRunning(child)) child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(kill);
  const endsByItself = exited.then(([code]) => {
    if (code !== null) throw new Error(`the sync ended with ${code} before it could be killed`);
    return new Promise<never>(() => {});
  });
  endsByItself.catch(() => {});
  return { kill, endsByItself };
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

/** Processes that die while a request of theirs is under way. `onRequest` is the sandbox's. */
export function createSyncProcesses() {
  let dying: { customerId: string; requestsLeft: number; arrived: () => void } | null = null;
  return {
    onRequest: async ({ customerId }: SandboxRequest): Promise<void> => {
      if (dying?.customerId !== customerId || --dying.requestsLeft > 0) return;
      dying.arrived();
      await new Promise<never>(() => {}); // whoever asked does not live to hear the answer
    },
    /** A turn of the customer's sync that is killed while its nth request is under way. */
    killAtRequest: async (world: World, customerId: string, n: number): Promise<void> => {
      const { promise, resolve } = Promise.withResolvers<void>();
      dying = { customerId, requestsLeft: n, arrived: resolve };
      const sync = startSyncProcess(world, customerId);
      await Promise.race([promise, sync.endsByItself]);
      await sync.kill();
      dying = null;
    },
  };
}
