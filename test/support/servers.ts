/** The servers a test run needs: found where the environment or the machine has them, else started for the run. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import {
  findFreePort,
  startEmbeddedPostgres,
  throwawaySettings,
} from '../../src/sandbox/embedded-postgres.ts';
import { waitFor } from './wait-for.ts';

export interface TestServer {
  url: string;
  stop(): Promise<void>;
}

const notOurs = async () => {};

/** TEST_DATABASE_URL (a user who may create databases), else an embedded Postgres. */
export async function findOrStartPostgres(): Promise<TestServer> {
  const url = process.env['TEST_DATABASE_URL'];
  if (url) return { url, stop: notOurs };
  // Every test file opens pools of its own, and both queue backends listen.
  const settings = { ...throwawaySettings, max_connections: '300' };
  const { socketUrl, stop } = await startEmbeddedPostgres({ settings });
  return { url: socketUrl, stop };
}

/** TEST_REDIS_URL, else the machine's Redis, else one started from PATH; undefined where there is none. */
export async function findOrStartRedis(): Promise<TestServer | undefined> {
  const url = process.env['TEST_REDIS_URL'];
  if (url) return { url, stop: notOurs };
  const local = 'redis://127.0.0.1:6379';
  if (await answers(local)) return { url: local, stop: notOurs };
  return await startRedis();
}

/** A Redis from PATH that nobody else uses; undefined where there is none. */
export async function startRedis(): Promise<TestServer | undefined> {
  const dir = await mkdtemp(join(tmpdir(), 'calico-redis-'));
  const port = await findFreePort();
  const settings = {
    port,
    bind: '127.0.0.1',
    dir,
    save: '',
    appendonly: 'no',
    'maxmemory-policy': 'noeviction',
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const server = spawn('redis-server', flags, { stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const abandon = () => {
    server.kill('SIGTERM');
    rmSync(dir, { recursive: true, force: true });
  };
  process.once('exit', abandon); // whoever is interrupted leaves none behind
  const stop = async () => {
    process.off('exit', abandon);
    if (server.kill('SIGTERM')) await exited;
    await rm(dir, { recursive: true, force: true });
  };
  const spawned = await once(server, 'spawn').then(
    () => true,
    () => false,
  );
  if (!spawned) {
    await rm(dir, { recursive: true });
    return undefined;
  }
  const url = `redis://127.0.0.1:${port}`;
  try {
    await waitFor(() => answers(url), { describe: `the redis-server started on port ${port} to answer` });
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
}

/** Whether a Redis answers there and takes commands without a password. */
async function answers(url: string): Promise<boolean> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null, connectTimeout: 1_000 });
  redis.on('error', () => {}); // connect() rejects with the same
  try {
    await redis.connect();
    return (await redis.ping()) === 'PONG';
  } catch {
    return false;
  } finally {
    redis.disconnect();
  }
}
