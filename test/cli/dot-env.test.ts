/** `.env` of the working directory: read by every command, beneath the environment. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import type { Finished } from './command.ts';

const cli = fileURLToPath(new URL('../../src/cli.ts', import.meta.url));
let cwd: string;

beforeEach(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'calico-dot-env-'));
  cwd = directory;
  onTestFinished(() => rm(directory, { recursive: true }));
});

/** Where the command looks for Postgres is what it read. One that never ends is killed, and has no code. */
function listCustomers(env: Record<string, string> = {}): Promise<Finished> {
  return new Promise((resolve) => {
    const options = { cwd, env, timeout: 60_000, killSignal: 'SIGKILL' } as const;
    const child = execFile(process.execPath, [cli, 'customers', 'list'], options, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

const databaseAt = (port: number) => `postgres://user:hunter2@127.0.0.1:${port}/calico`;

it('is read, and the environment wins', async () => {
  await writeFile(join(cwd, '.env'), `# ours\nDATABASE_URL="${databaseAt(1)}"\n`);
  const [file, environment] = await Promise.all([
    listCustomers(),
    listCustomers({ DATABASE_URL: databaseAt(2) }),
  ]);
  expect(file).toMatchObject({ code: 1, stderr: expect.stringContaining('ECONNREFUSED 127.0.0.1:1.') });
  expect(environment).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('ECONNREFUSED 127.0.0.1:2.'),
  });
  expect(file.stderr + environment.stderr).not.toContain('hunter2');
});

it('that cannot be read is said once', async () => {
  // What `docker run -v` makes of a file that is not there.
  await mkdir(join(cwd, '.env'));
  const { code, stdout, stderr } = await listCustomers({ DATABASE_URL: databaseAt(1) });
  expect(stderr).toMatch(/^A setting is wrong:\n {2}\.env cannot be read \(EISDIR.+\)\nSee .+\n$/);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
});
