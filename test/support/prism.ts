/** Prism (an OpenAPI mock and proxy server that is not ours), run with our contract. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { findFreePort } from '../../src/sandbox/embedded-postgres.ts';

export type Prism = { url: string; stop(): Promise<void> };

const script = fileURLToPath(
  new URL('../../node_modules/@stoplight/prism-cli/dist/index.js', import.meta.url),
);
const contract = fileURLToPath(new URL('../../src/calico/openapi.yaml', import.meta.url));

/** In front of an API: passes everything on, and answers itself where a request or an answer breaks the contract. */
export function startPrismProxy(apiUrl: string): Promise<Prism> {
  return startPrism(['proxy', contract, apiUrl, '--errors']);
}

/** Alone: every answer is random, as far as the contract allows. */
export function startPrismMock(): Promise<Prism> {
  return startPrism(['mock', contract, '--dynamic']);
}

async function startPrism(command: readonly string[]): Promise<Prism> {
  const port = await findFreePort();
  const args = [script, ...command, '--port', String(port)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  await listening(child);
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      child.kill();
      await exited;
    },
  };
}

/**
 * Resolves when Prism says that it listens; rejects with its words when it ends instead. Reads on afterwards: Prism stops
 * when the pipe is full.
 */
function listening(child: ChildProcessByStdio<null, Readable, null>): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-10_000);
    if (said.includes('Prism is listening')) resolve();
  });
  child.once('exit', () => reject(new Error(`Prism ended before it listened: ${said}`)));
  return promise;
}
