import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { COMPILE_CACHE, QUICK_IMPORTS } from '../child-process.ts';
import type { QueueSpec } from '../crash/queue-leg.ts';
import { specOf } from '../crash/runner.ts';
import { waitFor } from '../wait-for.ts';
import type { World } from '../world.ts';
import type { WorkerProcessSpec } from './worker-process.ts';

const SCRIPT = fileURLToPath(new URL('worker-process.ts', import.meta.url));

export type WorkerProcess = {
  /** SIGSTOP: it does nothing any more, and nobody is told. */
  stall(): void;
  /** SIGCONT. */
  wake(): void;
  /** SIGKILL, and gone. */
  kill(): Promise<void>;
  /** How its turns ended so far. */
  outcomes(): string[];
};

/** Starts a worker (tick, queue, syncs) in a process of its own, which ends with the test at the latest. */
export async function startWorkerProcess(world: World, queue: QueueSpec): Promise<WorkerProcess> {
  const spec: WorkerProcessSpec = { sync: specOf(world), queue };
  const child = spawn(process.execPath, [...QUICK_IMPORTS, SCRIPT], {
    env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE, WORKER_PROCESS: JSON.stringify(spec) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const kill = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(kill);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await waitFor(() => said.includes('working\n'), { describe: 'a worker process to work' });
  return {
    kill,
    stall: () => void child.kill('SIGSTOP'),
    wake: () => void child.kill('SIGCONT'),
    outcomes: () => said.split('\n').filter((line) => line !== '' && line !== 'working'),
  };
}
