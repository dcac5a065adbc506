/** `demo`: the whole pipeline with nothing installed. Whatever becomes of it, it leaves no process and no file behind. */
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { waitFor } from '../support/wait-for.ts';
import { type Running, start } from './command.ts';

let temporary: string;

beforeEach(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'calico-demo-'));
  await chmod(directory, 0o755); // the embedded Postgres may be another user's
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  temporary = directory;
});

/** Without a terminal, and with a temporary directory of its own. */
function startDemo(): Running {
  return start({ PATH: process.env['PATH'] ?? '', TMPDIR: temporary }, 'demo');
}

/** The process id of the demo's Postgres, from its own file, as soon as there is one. */
async function postgresOfDemo(): Promise<number> {
  return waitFor(
    async () => {
      const [scratch = ''] = await readdir(temporary);
      const text = await readFile(join(temporary, scratch, 'cluster/data/postmaster.pid'), 'utf8');
      return Number.parseInt(text, 10);
    },
    { describe: 'the demo’s Postgres', timeoutMs: 60_000 },
  );
}

async function expectNothingLeft(postgres: number): Promise<void> {
  expect(() => process.kill(postgres, 0)).toThrow('ESRCH');
  expect(await readdir(temporary)).toEqual([]);
}

it('lands every transaction with a receipt that balances, and stops what it started', async () => {
  const demo = startDemo();
  const postgres = await postgresOfDemo();
  const { code, stdout, stderr } = await demo.finished;
  expect(stderr).toMatch(/^( {2}[\d,]+\/538 customers, [\d,]+ pages, [\d,]+ records\n)+$/);
  expect(stderr).toContain('  538/538 customers, 1,076 pages, 1,270 records\n');
  expect(stdout).toContain('674 transactions here, 674 at Calico: all of them, each once.');
  expect(stdout).toMatch(/^stream +runs +pages +fetched +inserted .* balanced$/m);
  expect(stdout).toMatch(/^assets +538 +538 +596 +596 +0 +0 +0 +0 +538$/m);
  expect(stdout).toMatch(/^transactions +538 +538 +674 +674 +0 +0 +0 +0 +538$/m);
  expect(stdout).not.toContain('\u001b');
  expect(code).toBe(0);
  await expectNothingLeft(postgres);
}, 120_000);

it('ends at Ctrl-C in the middle with one sentence', async () => {
  const demo = startDemo();
  await demo.prints('/538 customers');
  const postgres = await postgresOfDemo();
  demo.signal('SIGINT');
  const { code, stdout, stderr } = await demo.finished;
  expect(stderr).toMatch(/\d records\nThe demo was interrupted\.\n$/);
  expect(stdout).not.toContain('Rows in Postgres');
  expect(code).toBe(1);
  await expectNothingLeft(postgres);
}, 60_000);

it('ends at Ctrl-C, pressed twice, while Postgres starts', async () => {
  const demo = startDemo();
  await waitFor(async () => (await readdir(temporary)).length > 0, {
    describe: 'the demo to prepare its Postgres',
    timeoutMs: 60_000,
  });
  demo.signal('SIGINT');
  demo.signal('SIGINT');
  expect(await demo.finished).toMatchObject({ code: 1, stderr: 'The demo was interrupted.\n' });
  expect(await readdir(temporary)).toEqual([]);
}, 60_000);
