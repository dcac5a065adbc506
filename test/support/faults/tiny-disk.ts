/** A disk so small that a test can fill it, for the tables of a Postgres that the test started. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';

const run = promisify(execFile);

export type TinyDisk = {
  path: string;
  /** Leaves no byte of it. */
  fill(): Promise<void>;
  empty(): Promise<void>;
};

/** Mounts one of memory until the test ends, owned as `ownedAs` is; null where nobody lets us, as for any user but root. */
export async function mountTinyDisk(ownedAs: string): Promise<TinyDisk | null> {
  const { uid, gid } = await stat(ownedAs);
  const path = await mkdtemp(join(tmpdir(), 'calico-tiny-disk-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  const options = `size=4m,mode=700,uid=${uid},gid=${gid}`;
  const mounted = await run('mount', ['-t', 'tmpfs', '-o', options, 'calico-tiny-disk', path]).then(
    () => true,
    () => false,
  );
  if (!mounted) return null;
  onTestFinished(async () => void (await run('umount', ['--lazy', path])));
  const filler = join(path, 'filler');
  return {
    path,
    fill: async () => {
      const full = await writeFile(filler, new Uint8Array(8 << 20)).catch((error: unknown) => error);
      if (!(full instanceof Error) || !('code' in full) || full.code !== 'ENOSPC') throw full;
    },
    empty: () => rm(filler),
  };
}
