/** The worker as operators start it, in a process of its own, and what the kernel and its collector say of it. Linux only. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url));
/** A kernel's tick, as /proc counts time: 100 a second on every Linux that Node runs on. */
const TICK_MS = 10;

export type ProcessSample = {
  rssMb: number;
  /** What was left in the heap by the full collections since the sample before, at least; null where there was none. */
  heapMb: number | null;
  /** Files, sockets, pipes, timers of the kernel: everything open. */
  handles: number;
  cpuMs: number;
};

export type WorkerProcess = {
  pid: number;
  sample(): Promise<ProcessSample>;
  /** The process has ended; it never should before `stop`. */
  hasEnded(): boolean;
  /** What it logged as an error, and how often. */
  errors(): Readonly<Record<string, number>>;
  /** SIGTERM; its exit code, and after how many milliseconds. */
  stop(): Promise<{ code: number | null; tookMs: number }>;
};

/** `--trace-gc` prints what each collection left: the one figure of memory that a leak cannot hide from. */
export function startWorkerCommand(settings: Record<string, string>): WorkerProcess {
  const child = spawn(process.execPath, ['--trace-gc', CLI, 'worker'], {
    env: settings,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('the worker did not start');
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill); // whoever is interrupted leaves none behind
  let code: number | null = null;
  let ended = false;
  const exit = once(child, 'exit').then(([exitCode]) => {
    process.off('exit', kill);
    ended = true;
    code = exitCode;
  });
  const errors: Record<string, number> = {};
  const heaps: number[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [, left] = /Mark-Compact.*? -> ([\d.]+) \(/.exec(line) ?? [];
    if (left !== undefined) heaps.push(Number(left));
    const [, message] = /"level":[56]0.*"msg":"([^"]*)/.exec(line) ?? [];
    if (message !== undefined) errors[message] = (errors[message] ?? 0) + 1;
  });
  return {
    pid,
    hasEnded: () => ended,
    errors: () => errors,
    sample: async () => {
      const [status, stat, handles] = await Promise.all([
        readFile(`/proc/${pid}/status`, 'utf8'),
        readFile(`/proc/${pid}/stat`, 'utf8'),
        readdir(`/proc/${pid}/fd`),
      ]);
      const left = heaps.splice(0);
      const [user = 0, system = 0] = stat.slice(stat.lastIndexOf(')')).split(' ').slice(12, 14).map(Number);
      return {
        rssMb: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024,
        heapMb: left.length === 0 ? null : Math.min(...left),
        handles: handles.length,
        cpuMs: (user + system) * TICK_MS,
      };
    },
    stop: async () => {
      const from = performance.now();
      child.kill('SIGTERM');
      await exit;
      return { code, tookMs: performance.now() - from };
    },
  };
}
