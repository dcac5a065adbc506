/** A Redis that one test alone uses, and so may empty, kill and freeze. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';
import { findFreePort } from '../../../src/sandbox/embedded-postgres.ts';
import { waitFor } from '../wait-for.ts';

export type OwnRedis = {
  url: string;
  /** FLUSHALL; says how many keys were lost. */
  burn(): Promise<number>;
  /** SIGKILL, and gone. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, empty, on the same port. */
  restart(): Promise<void>;
  /** SIGSTOP: connections are taken, nothing is answered. */
  freeze(): void;
  thaw(): void;
};

/** Starts redis-server from PATH for the test that is running; null where there is none. */
export async function startOwnRedis(): Promise<OwnRedis | null> {
  const dir = await mkdtemp(join(tmpdir(), 'calico-own-redis-'));
  const port = await findFreePort();
  const url = `redis://127.0.0.1:${port}`;
  let server = launch(port, dir);
  const kill = async () => {
    if (server.pid === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, 'exit');
    server.kill('SIGKILL');
    await exited;
  };
  onTestFinished(async () => {
    await kill();
    await rm(dir, { recursive: true, force: true });
  });
  if (server.pid === undefined) return null;

  const admin = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
  admin.on('error', () => {}); // it is killed on purpose
  onTestFinished(() => admin.disconnect());
  const answers = () => waitFor(() => admin.ping(), { describe: `the redis-server on port ${port}` });
  await answers();
  return {
    url,
    kill,
    burn: async () => {
      const keys = await admin.dbsize();
      await admin.flushall();
      return keys;
    },
    restart: async () => {
      server = launch(port, dir);
      await answers();
    },
    freeze: () => void server.kill('SIGSTOP'),
    thaw: () => void server.kill('SIGCONT'),
  };
}

function launch(port: number, dir: string): ChildProcess {
  const flags = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir];
  const memory = ['--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction'];
  const server = spawn('redis-server', [...flags, ...memory], { stdio: 'ignore' });
  server.once('error', () => {}); // there is none in PATH: it has no pid then
  return server;
}
