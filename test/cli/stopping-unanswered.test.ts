/** SIGTERM (promise 12): a worker ends within ten seconds though a server does not answer. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { findFreePort } from '../../src/sandbox/embedded-postgres.ts';
import { openBreakableLink } from '../support/breakable-link.ts';
import { createGate, nth } from '../support/gate.ts';
import { sends } from '../support/records.ts';
import { waitFor } from '../support/wait-for.ts';
import type { Settings } from './command.ts';
import { createInstallation, stop } from './installation.ts';

const TEN_SECONDS = 10_000;

/** A worker at its second page of transactions, on a way to Postgres that a test can break. */
async function startAtSecondPage(linked: (url: string) => Settings) {
  const gate = createGate(nth(2, 'transactions'));
  const at = await createInstallation({ sandbox: { onRequest: gate.onRequest } });
  at.data.add('transactions', 'alice', ...sends(5));
  await at.add('alice');
  const link = await openBreakableLink(at.settings['DATABASE_URL'] ?? '', 5432);
  onTestFinished(link.close);
  const worker = await at.startWorker(linked(link.url));
  await gate.arrival;
  return { at, link, worker, answer: gate.open };
}

it('ends at SIGTERM though Postgres does not answer, at a page or as it starts', async () => {
  const { at, link, worker } = await startAtSecondPage((url) => ({ DATABASE_URL: url, QUEUE_URL: url }));
  link.freeze();

  const silent = await openSilentServer();
  const early = at.start('worker', { DATABASE_URL: silent.url });
  await silent.arrival;

  for (const { code, tookMs } of await Promise.all([stop(worker), stop(early)])) {
    expect(code).toBe(0);
    expect(tookMs).toBeLessThan(TEN_SECONDS);
  }
});

it('says before it ends which run it could not put down, once Postgres is back', async () => {
  const { at, link, worker, answer } = await startAtSecondPage((url) => ({ DATABASE_URL: url }));
  link.cut();
  answer();
  await worker.prints('the end of a turn could not be written');
  link.heal();

  expect((await stop(worker)).code).toBe(0);

  const rows = await at.rows('SELECT status, attempts FROM calico.sync_runs');
  expect(rows, 'not left running, as a dead worker leaves it').toEqual([{ status: 'waiting', attempts: 1 }]);
});

it('ends at SIGTERM though Redis does not answer', async ({ skip }) => {
  const redis = await startOwnRedis();
  if (!redis) return skip('no redis-server in PATH');
  const at = await createInstallation({ queue: { url: redis.url, prefix: 'stopping' } });
  const worker = await at.startWorker();
  redis.freeze();
  const { code, tookMs } = await stop(worker);
  expect(code).toBe(0);
  expect(tookMs).toBeLessThan(TEN_SECONDS);
});

/** A Redis that nobody else uses and that can be made to hang; null where there is no redis-server. */
async function startOwnRedis(): Promise<{ url: string; freeze(): void } | null> {
  const port = await findFreePort();
  const flags = `--port ${port} --bind 127.0.0.1 --maxmemory-policy noeviction --save`.split(' ');
  const server = spawn('redis-server', [...flags, ''], { stdio: ['ignore', 'pipe', 'ignore'] });
  server.once('error', () => {});
  if (server.pid === undefined) return null;
  const exited = once(server, 'exit');
  onTestFinished(async () => {
    server.kill('SIGKILL');
    await exited;
  });
  let said = '';
  server.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await waitFor(() => said.includes('eady to accept connections'), { describe: 'redis-server to be ready' });
  return { url: `redis://127.0.0.1:${port}`, freeze: () => void server.kill('SIGSTOP') };
}

/** A Postgres that takes connections and says nothing. */
async function openSilentServer(): Promise<{ url: string; arrival: Promise<unknown> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const arrival = once(server, 'connection');
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `postgres://127.0.0.1:${port}/calico`, arrival };
}
