/** Processes to be killed, started ahead so that nobody waits for Node. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { COMPILE_CACHE, QUICK_IMPORTS } from '../child-process.ts';
import type { SyncSpec } from './leg.ts';
import type { Death, Order } from './victim-process.ts';

const SCRIPT = fileURLToPath(new URL('victim-process.ts', import.meta.url));

/** As many as there are cores to start them on. */
const AHEAD = 2;

export type Victims = {
  /** Has a process sync customers until each has come to its moment, and sees it killed. */
  run(orders: readonly Order[]): Promise<Death[]>;
};

/** Starts `needed` processes, a few ahead of their orders; those that get none end with the test. */
export function startVictims(spec: SyncSpec, needed: number): Victims {
  const waiting: ChildProcess[] = [];
  let left = needed;
  const startOne = () => {
    if (left-- <= 0) return;
    const child = fork(SCRIPT, {
      env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE },
      execArgv: QUICK_IMPORTS,
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    waiting.push(child);
  };
  for (let ahead = 0; ahead < AHEAD; ahead++) startOne();
  onTestFinished(() => {
    for (const child of waiting) child.kill('SIGKILL');
  });

  return {
    run: async (orders) => {
      const child = waiting.shift();
      if (!child?.stdout) throw new Error('no process stands by');
      startOne();
      const answer = child.stdout.setEncoding('utf8').toArray();
      const exit = once(child, 'exit');
      child.send({ spec, orders });
      const [[code, signal], text] = await Promise.all([exit, answer]);
      const deaths: Death[] = JSON.parse(text.join('') || '[]');
      const expected = deaths.some(({ diedAt }) => diedAt !== null) ? 'SIGKILL' : null;
      if (deaths.length !== orders.length || signal !== expected)
        throw new Error(`the process ended with ${code ?? signal} and said ${text.join('') || 'nothing'}`);
      return deaths;
    },
  };
}
