/**
 * docker-compose.yml, checked for what a deployment must not get wrong. There is no Docker where the tests run and no
 * package with Compose's own schema; this one knows only the words that the file uses, so that a misspelt one is found.
 */
import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { readConfig } from '../../src/config.ts';

/** Compose stops with the message where the variable is missing or empty: nothing to fall back to. */
const REQUIRED = /^\$\{[A-Z_]+:\?[^}]+\}$/;
const isSecret = (name: string) => /PASSWORD|SECRET|KEY|TOKEN/.test(name);
const passwordIn = (value: string) => /^\w+:\/\/[^:@/]*:([^@]+)@/.exec(value)?.[1];

const environment = z.record(z.string(), z.string()).superRefine((entries, context) => {
  for (const [name, value] of Object.entries(entries)) {
    const secret = isSecret(name) ? value : passwordIn(value);
    if (secret !== undefined && !REQUIRED.test(secret))
      context.addIssue({ code: 'custom', message: `${name} does not insist on a secret from .env` });
  }
});

const words = z.array(z.string()).min(1);
const seconds = z.string().regex(/^\d+s$/);
const restart = z.literal('unless-stopped');
const common = {
  command: words.optional(),
  environment: environment.optional(),
  depends_on: z
    .record(
      z.string(),
      z.strictObject({ condition: z.enum(['service_healthy', 'service_completed_successfully']) }),
    )
    .optional(),
};
const server = z.strictObject({
  ...common,
  image: z.string().regex(/^[a-z]+:\d+/, 'is not pinned to a version'),
  restart,
  volumes: z.array(z.string().regex(/^[a-z]+:\//, 'is no named volume')).min(1),
  ports: z.array(z.string().regex(/^127\.0\.0\.1:/, 'is open to more than this machine')).optional(),
  healthcheck: z.strictObject({
    test: words.refine(([how]) => how === 'CMD'),
    interval: seconds,
    start_period: seconds,
  }),
});
const ours = z.strictObject({
  ...common,
  build: z.literal('.'),
  image: z.literal('calico-sync'),
  init: z.literal(true),
  restart: restart.optional(),
  env_file: z.literal('.env').optional(),
  stop_grace_period: seconds.optional(),
});
type Service = z.output<typeof server> | z.output<typeof ours>;

const compose = z
  .object({
    services: z.strictObject({ postgres: server, redis: server, migrate: ours, worker: ours }),
    volumes: z.record(z.string(), z.null()),
  })
  .superRefine(({ services, volumes }, context) => {
    for (const [name, service] of Object.entries<Service>(services)) {
      const faults = [...waitFaults(services, service), ...volumeFaults(volumes, service)];
      for (const fault of faults) context.addIssue({ code: 'custom', message: `${name} ${fault}` });
    }
  });

function waitFaults(services: Record<string, Service>, { depends_on = {} }: Service): string[] {
  return Object.entries(depends_on).flatMap(([name, { condition }]) => {
    const service = services[name];
    if (!service) return [`waits for ${name}, which is no service`];
    if (condition === 'service_healthy')
      return 'healthcheck' in service ? [] : [`waits for the health of ${name}, which has no check`];
    return service.restart ? [`waits for the end of ${name}, which restarts`] : [];
  });
}

function volumeFaults(volumes: Record<string, null>, service: Service): string[] {
  const used = 'volumes' in service ? service.volumes.map((volume) => volume.replace(/:.*/, '')) : [];
  return used.filter((name) => !(name in volumes)).map((name) => `uses ${name}, which is not declared`);
}

/** @throws ZodError with everything that is wrong */
const readCompose = (yaml: string) => compose.parse(parse(yaml, { merge: true }));

const fromRoot = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const text = fromRoot('docker-compose.yml');
const example = parseEnv(fromRoot('.env.example'));

describe('docker-compose.yml', () => {
  const { services } = readCompose(text);
  const { postgres, redis, migrate, worker } = services;

  test('keeps Postgres’s data where version 18 has it, and Redis’s on disk and whole', () => {
    expect(postgres).toMatchObject({ image: 'postgres:18', volumes: ['postgres:/var/lib/postgresql'] });
    expect(redis).toMatchObject({ image: 'redis:8', volumes: ['redis:/data'] });
    const command = redis.command?.join(' ');
    expect(command).toMatch(/^redis-server .*--maxmemory-policy noeviction/);
    expect(command).toMatch(/--appendonly yes --appendfsync everysec/);
  });

  test('opens Postgres to this machine and nothing else to anybody', () => {
    expect(postgres.ports).toEqual(['127.0.0.1:5432:5432']);
    expect(redis.ports).toBeUndefined();
  });

  test('migrates when both servers answer, works when that is done, and gives the worker time to stop', () => {
    const healthy = { condition: 'service_healthy' };
    expect(migrate.depends_on).toEqual({ postgres: healthy, redis: healthy });
    expect(migrate.command).toEqual(['node', 'src/cli.ts', 'migrate']);
    expect(worker.depends_on).toEqual({ migrate: { condition: 'service_completed_successfully' } });
    expect(worker.restart).toBe('unless-stopped');
    expect(Number.parseInt(worker.stop_grace_period ?? '', 10)).toBeGreaterThan(10); // promise 12
  });

  test('takes nothing from the environment that .env.example does not have', () => {
    const variables = new Set(text.matchAll(/\$\{?(\w+)/g).map(([, name]) => name));
    expect(variables.difference(new Set(Object.keys(example)))).toEqual(new Set());
  });

  test('gives our services settings that they accept, once .env is filled in', () => {
    const filled: Record<string, string | undefined> = {
      ...example,
      POSTGRES_PASSWORD: 'f00d',
      CALICO_CLIENT_ID: 'client',
      CALICO_CLIENT_SECRET: 'secret',
      CREDENTIALS_KEYS: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
    };
    const inContainer = ({ env_file, environment: own = {} }: typeof worker) => ({
      ...(env_file ? filled : {}),
      ...Object.fromEntries(
        Object.entries(own).map(([name, value]) => [
          name,
          value.replaceAll(/\$\{(\w+):\?[^}]*\}/g, (_all, variable: string) => filled[variable] ?? ''),
        ]),
      ),
    });
    const { database } = readConfig(
      inContainer(worker),
      'database',
      'queue',
      'credentials',
      'calico',
      'sync',
      'worker',
      'events',
      'log',
    );
    expect(database.DATABASE_URL).toBe('postgres://calico:f00d@postgres:5432/calico');
    expect(postgres.environment).toMatchObject({ POSTGRES_USER: 'calico', POSTGRES_DB: 'calico' });
    const { queue } = readConfig(inContainer(migrate), 'database', 'queue');
    expect(queue.QUEUE_URL).toBe('redis://redis:6379');
  });
});

describe('would be found:', () => {
  test.each([
    ['an image of any version', 'postgres:18', 'postgres:latest', 'is not pinned'],
    ['a password', /POSTGRES_PASSWORD: .*/, 'POSTGRES_PASSWORD: calico', 'POSTGRES_PASSWORD does not insist'],
    ['a password in a URL', /calico:\$\{.*\}@/, 'calico:calico@', 'DATABASE_URL does not insist'],
    [
      'a secret with a default',
      'SECRET:?set it in .env',
      'SECRET:-x',
      'CALICO_CLIENT_SECRET does not insist',
    ],
    ['a port open to the network', '127.0.0.1:5432:', '5432:', 'is open to more'],
    [
      'a wait for nobody',
      'redis: { condition',
      'reddis: { condition',
      'waits for reddis, which is no service',
    ],
    ['a wait for health unknown', 'service_completed_successfully', 'service_healthy', 'has no check'],
    ['a volume that is not declared', /^ {2}redis:$/m, '', 'which is not declared'],
    ['a misspelt word', 'stop_grace_period', 'stop_grace_seconds', 'stop_grace_seconds'],
  ])('%s', (_what, right, wrong, complaint) => {
    const broken = text.replace(right, wrong);
    expect(broken).not.toBe(text);
    expect(() => readCompose(broken)).toThrow(complaint);
  });
});
