/** Wrong words and wrong settings: exit code 2, everything at once, and nothing is opened. */
import { createServer } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { commandWith } from './command.ts';

const withoutSettings = commandWith({});

describe('the command line', () => {
  it('shows every command in its help', async () => {
    const { code, stdout } = await withoutSettings('--help');
    expect(code).toBe(0);
    for (const name of ['migrate', 'worker', 'sandbox', 'customers', 'sync', 'runs', 'demo']) {
      expect(stdout).toContain(`\n  ${name}`);
    }
  });

  it.each([
    ['bogus', "unknown command 'bogus'"],
    ['customers bogus', "unknown command 'bogus'"],
    ['migrate --bogus', "unknown option '--bogus'"],
    ['customers show', "missing required argument 'id'"],
    ['customers add acme eyJhbGciOiJIUzI1', 'too many arguments'],
    ['customers add acme --access-token=eyJhbGciOiJIUzI1', "unknown option '--access-token'"],
    [`customers add eyJ${'x'.repeat(500)}`, 'command-argument value is invalid'],
    ['customers add acme --every soon', 'must be a duration such as'],
    ['customers list --status asleep', 'Allowed choices are active'],
    ['sync', 'name one customer, or --all'],
    ['sync acme --all', 'name one customer, or --all'],
    ['runs --limit 0', 'must be a whole number from 1'],
    ['sandbox --port 70000', 'must be a whole number from 0 to 65535'],
  ])('refuses "%s"', async (args, problem) => {
    const { code, stdout, stderr } = await withoutSettings(args);
    expect(stderr).toContain(problem);
    expect(stderr).toContain('--help');
    expect(stderr).not.toContain('eyJ');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});

describe('settings', () => {
  it('are all named at once where they are missing', async () => {
    const { code, stdout, stderr } = await withoutSettings('worker');
    for (const name of ['DATABASE_URL', 'QUEUE_URL', 'CREDENTIALS_KEYS', 'CALICO_CLIENT_ID']) {
      expect(stderr).toContain(`  ${name} is missing`);
    }
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('that are wrong are not quoted, and nothing is opened for those that are right', async () => {
    const { url, connections } = await countingServer();
    const settings = {
      DATABASE_URL: url,
      QUEUE_URL: 'redis//:hunter2@nowhere',
      CREDENTIALS_KEYS: 'k1:hunter2',
      LOG_LEVEL: 'loud',
    };
    for (const args of ['worker', 'migrate']) {
      const { code, stderr } = await commandWith(settings)(args);
      expect(stderr).toContain('QUEUE_URL must be');
      expect(stderr).not.toContain('hunter2');
      expect(code).toBe(2);
    }
    expect(connections()).toBe(0);
  });
});

describe('a database that does not answer', () => {
  const settings = {
    DATABASE_URL: 'postgres://operator:hunter2@127.0.0.1:1/calico',
    QUEUE_URL: 'redis://127.0.0.1:1',
  };

  it.each(['customers list', 'migrate'])('is said in one sentence by "%s"', async (args) => {
    const { code, stdout, stderr } = await commandWith(settings)(args);
    expect(stderr).toMatch(/^Postgres cannot be reached: [^\n]+\. Check DATABASE_URL[^\n]+\n$/);
    expect(stderr).not.toContain('hunter2');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });

  it('is shown with its stack where LOG_LEVEL asks for it', async () => {
    const { stderr } = await commandWith({ ...settings, LOG_LEVEL: 'debug' })('customers list');
    expect(stderr).toMatch(/\n +at .+\.ts:/);
    expect(stderr).not.toContain('hunter2');
  });
});

/** A server that only counts who comes. */
async function countingServer(): Promise<{ url: string; connections: () => number }> {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return { url: `postgres://127.0.0.1:${port}/calico`, connections: () => connections };
}
