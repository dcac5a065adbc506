import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv, promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ConfigError, parseDuration, readConfig, SETTING_NAMES, type SectionName } from '../src/config.ts';

type Environment = Record<string, string | undefined>;

const KEY = Buffer.alloc(32, 1).toString('base64');
const OTHER_KEY = Buffer.alloc(32, 2).toString('base64');
const REQUIRED = {
  DATABASE_URL: 'postgres://calico@db/calico',
  QUEUE_URL: 'redis://queue:6379',
  CALICO_CLIENT_ID: 'client',
  CALICO_CLIENT_SECRET: 'secret',
  CREDENTIALS_KEYS: `k1:${KEY}`,
};
/** A section that is missing here does not compile. */
const EVERY = {
  database: true,
  queue: true,
  credentials: true,
  calico: true,
  sync: true,
  worker: true,
  events: true,
  log: true,
} satisfies Record<SectionName, true>;
const ALL = Object.keys(EVERY) as SectionName[];

/** The fault lines of an environment; empty where there are none. */
function faultsOf(environment: Environment, ...sections: SectionName[]): string[] {
  try {
    readConfig(environment, ...sections);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message
      .split('\n')
      .filter((line) => line.startsWith('  '))
      .map((line) => line.trim());
  }
}

/** The faults of one setting that is given this value. */
const faultsWith = (name: string, value: string) => faultsOf({ ...REQUIRED, [name]: value }, ...ALL);

describe('readConfig', () => {
  test('has a default for everything but the five that only the installation can know', () => {
    expect(readConfig(REQUIRED, ...ALL)).toEqual({
      database: { DATABASE_URL: 'postgres://calico@db/calico' },
      queue: { QUEUE_URL: 'redis://queue:6379', QUEUE_PREFIX: 'calico_queue' },
      credentials: { CREDENTIALS_KEYS: new Map([['k1', Buffer.alloc(32, 1)]]) },
      calico: {
        CALICO_API_URL: 'https://api.getcalico.com/platform/v2',
        CALICO_AUTH_URL: 'https://login.getcalico.com/oauth/token',
        CALICO_CLIENT_ID: 'client',
        CALICO_CLIENT_SECRET: 'secret',
        CALICO_TIMEOUT_MS: 30_000,
        CALICO_MAX_BODY_BYTES: 16 * 1024 * 1024,
        CALICO_RATE_LIMIT: 10,
      },
      sync: {
        CALICO_PAGE_LIMIT: 100,
        CALICO_REFRESH_SETTLE_MS: 5_000,
        CALICO_MAX_WAIT: 6 * 60 * 60_000,
        SYNC_INTERVAL: 60 * 60_000,
        FULL_SYNC_INTERVAL: 7 * 24 * 60 * 60_000,
        SYNC_OVERLAP: 3 * 24 * 60 * 60_000,
        SLICE_PAGES: 50,
        KEEP_RAW: true,
      },
      worker: { WORKER_CONCURRENCY: 10 },
      events: {},
      log: { LOG_LEVEL: 'info' },
    });
  });

  test('tells every fault of all sections at once, each setting once, under its name', () => {
    const broken = {
      DATABASE_URL: '',
      QUEUE_URL: 'amqp://queue',
      CREDENTIALS_KEYS: 'k1:short',
      CALICO_API_URL: 'http://api.getcalico.com',
      CALICO_CLIENT_SECRET: '',
      SYNC_INTERVAL: 'hourly',
      WORKER_CONCURRENCY: '0',
      LOG_LEVEL: 'loud',
    };
    expect(faultsOf(broken, ...ALL)).toEqual([
      'DATABASE_URL is empty',
      'QUEUE_URL must be a redis:// or rediss:// or postgres:// or postgresql:// URL',
      'CREDENTIALS_KEYS must be id:base64 of 32 bytes, comma-separated',
      'CALICO_API_URL must be an https:// URL (http:// only for a Calico on this machine)',
      'CALICO_CLIENT_ID is missing',
      'CALICO_CLIENT_SECRET is empty',
      'SYNC_INTERVAL must be a duration such as 90s, 15m, 1h or 7d, from 1s to 3650d',
      'WORKER_CONCURRENCY must be a whole number from 1 to 1000',
      'LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent',
    ]);
  });

  test('counts its faults in the first line and ends with where to look', () => {
    expect(() => readConfig({}, 'calico')).toThrow(
      /^2 settings are wrong:\n(?:.*\n){2}See "Settings" in README\.md\.$/,
    );
    expect(() => readConfig({}, 'database')).toThrow(/^A setting is wrong:\n/);
  });

  test('quotes no value, whatever is wrong with it', () => {
    const names = SETTING_NAMES.filter(
      (name) => !['CALICO_CLIENT_ID', 'CALICO_CLIENT_SECRET'].includes(name),
    );
    for (const value of ['Hunter2', 'ftp://me:Hunter2@host', 'Hunter2:Hunter2,Hunter2:Hunter2']) {
      const faults = faultsOf(Object.fromEntries(names.map((name) => [name, value])), ...ALL);
      expect(faults.map((fault) => fault.split(' ')[0])).toEqual(expect.arrayContaining(names));
      expect(faults.join()).not.toContain('Hunter2');
    }
  });

  test('reads the sections that are asked for, and nothing else', () => {
    expect(readConfig({ LOG_LEVEL: 'debug', SYNC_INTERVAL: 'rubbish', NO_SETTING: '1' }, 'log')).toEqual({
      log: { LOG_LEVEL: 'debug' },
    });
  });
});

describe('durations', () => {
  test.each([
    ['250ms', 250],
    ['90s', 90_000],
    ['15m', 900_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
    [' 1h ', 3_600_000],
    ['0s', 0],
    ['3650d', 315_360_000_000],
  ])('%j is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(['', '1', 'h', '1.5h', '-1h', '1H', '1h30m', '1 h', '1w', '3651d', `${'9'.repeat(400)}d`])(
    '%j is none',
    (text) => {
      expect(parseDuration(text)).toBeNull();
    },
  );

  test('an interval has at least a second, an overlap may be nothing', () => {
    expect(faultsWith('SYNC_INTERVAL', '999ms')).toHaveLength(1);
    expect(faultsWith('SYNC_INTERVAL', '1s')).toEqual([]);
    expect(faultsWith('SYNC_OVERLAP', '0s')).toEqual([]);
  });
});

test.each([
  ['CALICO_PAGE_LIMIT', ['1', '100'], ['0', '101', '', ' 5', '1e1', '5.0', '-5', 'ten']],
  ['WORKER_CONCURRENCY', ['1', '1000'], ['0', '1001', '99999999999999999999']],
  ['KEEP_RAW', ['true', 'false'], ['', '0', 'TRUE', 'yes']],
  ['QUEUE_PREFIX', ['a', 'calico_queue_2'], ['', 'calico', 'Queue', '2nd', 'a:b', 'a'.repeat(64)]],
  ['DATABASE_URL', ['postgresql://h/d'], ['mysql://h/d', 'h/d', 'redis://h']],
  ['QUEUE_URL', ['rediss://h', 'postgres://h/d'], ['http://h', 'h:6379']],
])('%s takes %j and refuses %j', (name, good, bad) => {
  for (const value of good) expect(faultsWith(name, value)).toEqual([]);
  for (const value of bad) expect(faultsWith(name, value)).toEqual([expect.stringContaining(`${name} `)]);
});

describe.each(['CALICO_API_URL', 'CALICO_AUTH_URL'])('%s', (name) => {
  test.each([
    'https://api.getcalico.com/platform/v2',
    'http://127.0.0.1:4010',
    'http://localhost:4010/v2',
    'http://[::1]:4010',
  ])('may be %s', (url) => {
    expect(faultsWith(name, url)).toEqual([]);
  });

  test.each([
    ['plain http over a network', 'http://api.getcalico.com'],
    ['plain http to what only looks local', 'http://127.0.0.1.example.com'],
    ['plain http to what only looks local', 'http://localhost@example.com'],
    ['no URL', 'api.getcalico.com'],
    ['nothing', ''],
    ['a user and a password', 'https://user:password@api.getcalico.com'],
    ['a query', 'https://api.getcalico.com/?key=1'],
  ])('is not %s', (_what, url) => {
    expect(faultsWith(name, url)).toEqual([expect.stringContaining(`${name} must `)]);
  });
});

describe('CREDENTIALS_KEYS', () => {
  test('is a ring in the order of its keys', () => {
    const { credentials } = readConfig({ CREDENTIALS_KEYS: `new:${KEY}, old:${OTHER_KEY}` }, 'credentials');
    expect([...credentials.CREDENTIALS_KEYS]).toEqual([
      ['new', Buffer.alloc(32, 1)],
      ['old', Buffer.alloc(32, 2)],
    ]);
  });

  test.each([
    ['without an id', KEY],
    ['with an empty id', `:${KEY}`],
    ['of 31 bytes', `k1:${Buffer.alloc(31).toString('base64')}`],
    ['of 33 bytes', `k1:${Buffer.alloc(33).toString('base64')}`],
    ['that is hexadecimal', `k1:${Buffer.alloc(32).toString('hex')}`],
    ['with something behind it', `k1:${KEY}oops`],
    ['with something in it that base64 has not', `k1:*${KEY}`],
    ['that runs into the next', `k1:${KEY}k2:${OTHER_KEY}`],
    ['that is missing after a comma', `k1:${KEY},`],
  ])('refuses a key %s', (_what, value) => {
    expect(faultsWith('CREDENTIALS_KEYS', value)).toEqual([
      'CREDENTIALS_KEYS must be id:base64 of 32 bytes, comma-separated',
    ]);
  });

  test('refuses one id for two keys', () => {
    expect(faultsWith('CREDENTIALS_KEYS', `k1:${KEY},k1:${OTHER_KEY}`)).toEqual([
      'CREDENTIALS_KEYS names one key id twice',
    ]);
  });
});

describe('the webhook', () => {
  const secretOf = (bytes: number) => `whsec_${Buffer.alloc(bytes, 3).toString('base64')}`;
  const faults = (url: string, secret: string) =>
    faultsOf({ EVENTS_WEBHOOK_URL: url, EVENTS_WEBHOOK_SECRET: secret }, 'events');

  test.each([
    ['https://app.example.com/hooks?key=1', secretOf(24)],
    ['http://127.0.0.1:8080', `${secretOf(32)}, ${secretOf(64)}`],
    ['', ''],
  ])('may be %j signed by %j', (url, secret) => {
    expect(faults(url, secret)).toEqual([]);
  });

  test.each([
    ['URL', 'must ', 'http://app.example.com', secretOf(32)],
    ['URL', 'must ', 'https://user:password@app.example.com', secretOf(32)],
    ['URL', 'is missing', '', secretOf(32)],
    ['SECRET', 'is missing', 'https://app.example.com', ''],
    ['SECRET', 'must ', 'https://app.example.com', secretOf(23)],
    ['SECRET', 'must ', 'https://app.example.com', secretOf(65)],
    ['SECRET', 'must ', 'https://app.example.com', secretOf(32).replace('whsec_', '')],
    ['SECRET', 'must ', 'https://app.example.com', `${secretOf(32)}, `],
  ])('%s %s…: %j signed by %j', (name, fault, url, secret) => {
    expect(faults(url, secret)).toEqual([expect.stringContaining(`EVENTS_WEBHOOK_${name} ${fault}`)]);
  });
});

describe('.env.example', () => {
  const text = readFileSync(new URL('../.env.example', import.meta.url), 'utf8');
  const example = parseEnv(text) as Record<string, string>;
  /** For docker-compose.yml, which makes DATABASE_URL of it. */
  const notOurs = ['POSTGRES_PASSWORD'];
  const mayBeEmpty = ['EVENTS_WEBHOOK_URL', 'EVENTS_WEBHOOK_SECRET'];

  test('has every setting and no other, and so has the README', () => {
    expect(Object.keys(example).toSorted()).toEqual([...SETTING_NAMES, ...notOurs].toSorted());
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    expect(SETTING_NAMES.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
  });

  test('says a word on each, in the line before it', () => {
    const lines = text.split('\n');
    const bare = lines.filter((line, at) => /^[A-Z]/.test(line) && !lines[at - 1]?.startsWith('# '));
    expect(bare).toEqual([]);
  });

  test('leaves empty what has no default, and once that is filled in sets the defaults', () => {
    const empty = Object.keys(example).filter((name) => example[name] === '');
    expect(empty.toSorted()).toEqual([...Object.keys(REQUIRED), ...notOurs, ...mayBeEmpty].toSorted());
    expect(readConfig({ ...example, ...REQUIRED }, ...ALL)).toEqual(readConfig(REQUIRED, ...ALL));
  });
});

describe('readEnvironment', () => {
  /** What it reads, in a process of its own with this `.env` and environment. */
  async function readIn(dotEnv: string | null, environment: Record<string, string>): Promise<Environment> {
    const cwd = await mkdtemp(join(tmpdir(), 'calico-config-'));
    onTestFinished(() => rm(cwd, { recursive: true }));
    if (dotEnv !== null) await writeFile(join(cwd, '.env'), dotEnv);
    const module = new URL('../src/config.ts', import.meta.url);
    const script = `import { readEnvironment } from ${JSON.stringify(module)}; console.log(JSON.stringify(readEnvironment()))`;
    const args = ['--input-type=module', '--eval', script];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd, env: environment });
    return JSON.parse(stdout) as Environment;
  }

  test('is the environment over the file .env of the working directory', async () => {
    const dotEnv = '# comment\nLOG_LEVEL=debug\nSYNC_INTERVAL="2h"\nDATABASE_URL=postgres://file/db\n';
    expect(await readIn(dotEnv, { DATABASE_URL: 'postgres://environment/db' })).toMatchObject({
      LOG_LEVEL: 'debug',
      SYNC_INTERVAL: '2h',
      DATABASE_URL: 'postgres://environment/db',
    });
  });

  test('is the environment alone where there is no such file', async () => {
    const environment = await readIn(null, { LOG_LEVEL: 'warn' });
    expect(environment['LOG_LEVEL']).toBe('warn');
    expect(environment).not.toHaveProperty('SYNC_INTERVAL');
  });
});
