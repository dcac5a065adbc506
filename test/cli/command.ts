/** Runs the real command with these settings and no others, in this process or in one of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { WorkerPace } from '../../src/app.ts';
import { main } from '../../src/cli.ts';
import type { Sandbox } from '../../src/sandbox/server.ts';
import { COMPILE_CACHE, QUICK_IMPORTS } from '../support/child-process.ts';
import { waitFor } from '../support/wait-for.ts';

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url));
const FAST_WORKER = fileURLToPath(new URL('../support/faults/fast-worker.ts', import.meta.url));

export type Settings = Readonly<Record<string, string>>;
export type Finished = { code: number | null; stdout: string; stderr: string };
export type Run = (args: string, stdin?: string) => Promise<Finished>;

export interface Running {
  /** All that it has printed. */
  output(): string;
  /** Waits until it has printed this; fails where it ends without. */
  prints(text: string): Promise<void>;
  /** Waits for `work`; fails with all that it has printed where that fails, or where it ends before. */
  during<T>(work: Promise<T>): Promise<T>;
  signal(name: 'SIGTERM' | 'SIGINT' | 'SIGSTOP' | 'SIGCONT'): void;
  finished: Promise<Finished>;
}

/** What a customer of the sandbox needs, and a key of one's own. */
export function settingsFor(databaseUrl: string, queueUrl: string, sandbox?: Sandbox): Settings {
  return {
    DATABASE_URL: databaseUrl,
    QUEUE_URL: queueUrl,
    CREDENTIALS_KEYS: `test:${randomBytes(32).toString('base64')}`,
    CALICO_REFRESH_SETTLE_MS: '0',
    CALICO_RATE_LIMIT: '1000',
    ...(sandbox
      ? {
          CALICO_API_URL: sandbox.apiUrl,
          CALICO_AUTH_URL: sandbox.authUrl,
          CALICO_CLIENT_ID: sandbox.clientId,
          CALICO_CLIENT_SECRET: sandbox.clientSecret,
        }
      : {}),
  };
}

/** Starts the command; one that still runs when the test is over is killed. `args` are separated by single spaces. */
export function start(settings: Settings, args: string, stdin?: string): Running {
  return startNode([CLI, ...args.split(' ')], settings, stdin);
}

/** Starts the command `worker`, all of it, whose clocks run faster. */
export function startFastWorker(settings: Settings, pace: WorkerPace): Running {
  return startNode([...QUICK_IMPORTS, FAST_WORKER, JSON.stringify(pace)], settings);
}

function startNode(args: readonly string[], settings: Settings, stdin?: string): Running {
  const child = spawn(process.execPath, args, {
    // No .env lies here, and nothing of the test's own environment gets through.
    cwd: import.meta.dirname,
    env: { NODE_COMPILE_CACHE: COMPILE_CACHE, ...settings },
    stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  child.stdin?.on('error', () => {}); // it may end without reading
  child.stdin?.end(stdin);
  const read = collect(child);
  const finished = once(child, 'close').then(([code]) => ({ code: code as number | null, ...read() }));
  let over = false;
  void finished.then(() => {
    over = true;
  });
  onTestFinished(async () => {
    if (!over) child.kill('SIGKILL');
    await finished;
  });
  const output = () => Object.values(read()).join('');
  const shown = args.join(' ');
  const ended = finished.then(({ code }) => {
    throw new Error(`${shown} ended with ${code}`);
  });
  ended.catch(() => {}); // mostly nobody waits for it
  return {
    output,
    finished,
    signal: (name) => void child.kill(name),
    during: (work) =>
      Promise.race([work, ended]).catch((error: unknown) => {
        throw new Error(`${error}\nIt had printed:\n${output()}`, { cause: error });
      }),
    prints: async (text) => {
      const found = () => output().includes(text) || over;
      await waitFor(found, { describe: `"${text}" from ${shown}`, timeoutMs: 60_000 });
      if (!output().includes(text)) throw new Error(`${shown} ended:\n${output()}`);
    },
  };
}

function collect(child: ChildProcess): () => { stdout: string; stderr: string } {
  const text = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text.stdout += chunk;
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    text.stderr += chunk;
  });
  return () => ({ ...text });
}

/**
 * The command with these settings, run to its end in this process: loading it anew takes most of a second, a hundred
 * times over. What only a process has (signals, its exit, stdin of its own) is tested with `start`.
 */
export function commandWith(settings: Settings): Run {
  return (args, stdin = '') => oneAtATime(() => runHere(settings, args, stdin));
}

/** Environment and streams belong to the whole process. */
let running: Promise<unknown> = Promise.resolve();
function oneAtATime<T>(work: () => Promise<T>): Promise<T> {
  const mine = running.then(work);
  running = mine.catch(() => {});
  return mine;
}

async function runHere(settings: Settings, args: string, input: string): Promise<Finished> {
  const { env } = process;
  const cwd = process.cwd();
  const stdin = Object.getOwnPropertyDescriptor(process, 'stdin');
  const stdout = captureWrites(process.stdout);
  const stderr = captureWrites(process.stderr);
  process.env = { ...settings };
  process.chdir(import.meta.dirname);
  Object.defineProperty(process, 'stdin', { configurable: true, value: Readable.from([input]) });
  try {
    const code = await main(args.split(' '));
    return { code, stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    stdout.restore();
    stderr.restore();
    if (stdin) Object.defineProperty(process, 'stdin', stdin);
    process.chdir(cwd);
    process.env = env;
  }
}

function captureWrites(stream: NodeJS.WriteStream): { text(): string; restore(): void } {
  const { write } = stream;
  const written: string[] = [];
  stream.write = (chunk: string | Uint8Array, ...rest: unknown[]) => {
    written.push(String(chunk));
    const done = rest.at(-1);
    if (typeof done === 'function') done();
    return true;
  };
  return {
    text: () => written.join(''),
    restore: () => {
      stream.write = write;
    },
  };
}
