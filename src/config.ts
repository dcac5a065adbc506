/**
 * Settings: the only reader of `process.env`. Each group of commands asks for the sections that it needs; every fault in
 * them is reported at once, before anything is opened. No secret has a default, and no message quotes a value.
 */
import { existsSync, readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { z } from 'zod';
import type { KeyRing } from './db/vault.ts';

/** Settings that are missing or wrong, a line each. */
export class ConfigError extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    const title = faults.length === 1 ? 'A setting is wrong' : `${faults.length} settings are wrong`;
    super(`${title}:\n${faults.map((fault) => `  ${fault}`).join('\n')}\nSee "Settings" in README.md.`);
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Beyond it a date minus a duration, or Postgres's interval, would be out of range. */
const LONGEST_MS = 3650 * UNIT_MS.d;

/** "90s", "15m", "1h", "7d" as milliseconds, at most ten years; null for anything else. */
export function parseDuration(text: string): number | null {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text.trim());
  const ms = match ? Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS] : Number.NaN;
  return ms <= LONGEST_MS ? ms : null;
}

const duration = (fallback: string, least: '0s' | '1s' = '0s') =>
  z
    .string()
    .default(fallback)
    .transform((text, context) => {
      const ms = parseDuration(text);
      if (ms !== null && ms >= (parseDuration(least) ?? 0)) return ms;
      context.addIssue({
        code: 'custom',
        message: `must be a duration such as 90s, 15m, 1h or 7d, from ${least} to 3650d`,
      });
      return z.NEVER;
    });

const count = (fallback: number, least: number, most: number) =>
  z
    .string()
    .default(String(fallback))
    .refine((text) => /^\d+$/.test(text) && Number(text) >= least && Number(text) <= most, {
      message: `must be a whole number from ${least} to ${most}`,
    })
    .transform(Number);

const flag = (fallback: boolean) =>
  z
    .enum(['true', 'false'], 'must be true or false')
    .default(fallback ? 'true' : 'false')
    .transform((text) => text === 'true');

const required = z.string('is missing').min(1, { message: 'is empty', abort: true });

const urlOf = (protocols: readonly string[]) =>
  required.refine((text) => protocols.includes(URL.parse(text)?.protocol ?? ''), {
    message: `must be a ${protocols.map((protocol) => `${protocol}//`).join(' or ')} URL`,
  });

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]']);
/** Plain http only on this machine. */
const secureUrl = (what: string) =>
  z.string().refine(
    (text) => {
      const url = URL.parse(text);
      return url?.protocol === 'https:' || (url?.protocol === 'http:' && LOOPBACK.has(url.hostname));
    },
    { message: `must be an https:// URL (http:// only for ${what} on this machine)`, abort: true },
  );

/** Bearers and the client secret travel to these. No user or password: fetch refuses such a URL with an error that quotes it. */
const calicoUrl = secureUrl('a Calico').refine(
  (text) => {
    const url = URL.parse(text);
    return !url || url.username + url.password + url.search + url.hash === '';
  },
  { message: 'must have no user, password, query or fragment' },
);

/** What is empty is not set. */
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  z.preprocess((value) => (value === '' ? undefined : value), schema.optional());

/** A receiver's own key may be in its path or query. */
const webhookUrl = secureUrl('a receiver').refine(
  (text) => {
    const url = URL.parse(text);
    return !url || url.username + url.password + url.hash === '';
  },
  { message: 'must have no user, password or fragment' },
);

/** Standard Webhooks 1.0.0, "Signature scheme": 24 to 64 random bytes, in base64 behind `whsec_`. */
const webhookSecrets = z.string().transform((text, context): Buffer[] => {
  const secrets = text.split(',').map((entry) => {
    const base64 = /^whsec_(.+)$/.exec(entry.trim())?.[1] ?? '';
    const secret = Buffer.from(base64, 'base64');
    return secret.toString('base64') === base64 ? secret : Buffer.alloc(0);
  });
  if (secrets.every(({ length }) => length >= 24 && length <= 64)) return secrets;
  context.addIssue({
    code: 'custom',
    message: 'must be whsec_ and the base64 of 24 to 64 bytes, comma-separated',
  });
  return z.NEVER;
});

const KEY_BYTES = 32;
const credentialsKeys = required.transform((text, context): KeyRing => {
  const keys = new Map<string, Buffer>();
  for (const entry of text.split(',')) {
    const [id, base64, ...rest] = entry.trim().split(':');
    const key = Buffer.from(base64 ?? '', 'base64');
    // Compared because decoding skips whatever is not base64.
    if (!id || rest.length > 0 || key.length !== KEY_BYTES || key.toString('base64') !== base64) {
      context.addIssue({
        code: 'custom',
        message: `must be id:base64 of ${KEY_BYTES} bytes, comma-separated`,
      });
      return z.NEVER;
    }
    if (keys.has(id)) {
      context.addIssue({ code: 'custom', message: 'names one key id twice' });
      return z.NEVER;
    }
    keys.set(id, key);
  }
  return keys;
});

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

const SECTIONS = {
  database: z.object({ DATABASE_URL: urlOf(['postgres:', 'postgresql:']) }),
  queue: z.object({
    QUEUE_URL: urlOf(['redis:', 'rediss:', 'postgres:', 'postgresql:']),
    QUEUE_PREFIX: z
      .string()
      .default('calico_queue')
      .refine((text) => /^[a-z_][a-z0-9_]{0,62}$/.test(text) && text !== 'calico', {
        message: 'must be lower-case letters, digits and _, and not "calico"',
      }),
  }),
  credentials: z.object({ CREDENTIALS_KEYS: credentialsKeys }),
  calico: z.object({
    CALICO_API_URL: calicoUrl.default('https://api.getcalico.com/platform/v2'),
    CALICO_AUTH_URL: calicoUrl.default('https://login.getcalico.com/oauth/token'),
    CALICO_CLIENT_ID: required,
    CALICO_CLIENT_SECRET: required,
    CALICO_RATE_LIMIT: count(10, 1, 10_000),
    CALICO_TIMEOUT_MS: count(30_000, 100, 600_000),
    CALICO_MAX_BODY_BYTES: count(16 * 1024 * 1024, 1024, 1024 * 1024 * 1024),
  }),
  sync: z.object({
    CALICO_PAGE_LIMIT: count(100, 1, 100),
    CALICO_REFRESH_SETTLE_MS: count(5_000, 0, 3_600_000),
    CALICO_MAX_WAIT: duration('6h', '1s'),
    SYNC_INTERVAL: duration('1h', '1s'),
    FULL_SYNC_INTERVAL: duration('7d', '1s'),
    SYNC_OVERLAP: duration('3d'),
    SLICE_PAGES: count(50, 1, 1_000_000),
    KEEP_RAW: flag(true),
  }),
  worker: z.object({ WORKER_CONCURRENCY: count(10, 1, 1000) }),
  events: z
    .object({ EVENTS_WEBHOOK_URL: optional(webhookUrl), EVENTS_WEBHOOK_SECRET: optional(webhookSecrets) })
    .superRefine((events, context) => {
      const { EVENTS_WEBHOOK_URL: url, EVENTS_WEBHOOK_SECRET: secrets } = events;
      const missing = url === undefined ? 'EVENTS_WEBHOOK_URL' : 'EVENTS_WEBHOOK_SECRET';
      if ((url === undefined) === (secrets === undefined)) return;
      context.addIssue({ code: 'custom', path: [missing], message: 'is missing: a webhook needs both' });
    }),
  log: z.object({
    LOG_LEVEL: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).default('info'),
  }),
} as const;

type Sections = typeof SECTIONS;
export type SectionName = keyof Sections;
/** Every setting there is; .env.example and the README list the same. */
export const SETTING_NAMES: readonly string[] = Object.values(SECTIONS).flatMap(({ shape }) =>
  Object.keys(shape),
);
/** The settings of some sections under their own names, parsed: durations in milliseconds, keys as bytes. */
export type Config<Names extends SectionName> = { [Name in Names]: z.output<Sections[Name]> };

/** The environment, over the file `.env` of the working directory where there is one. */
export function readEnvironment(): Record<string, string | undefined> {
  const file = existsSync('.env') ? parseEnv(readFileSync('.env', 'utf8')) : {};
  return { ...file, ...process.env };
}

/** Parses sections of the environment. @throws ConfigError with all faults. */
export function readConfig<Names extends SectionName>(
  environment: Record<string, string | undefined>,
  ...names: Names[]
): Config<Names> {
  const faults: string[] = [];
  const config: Partial<Record<SectionName, unknown>> = {};
  for (const name of names) {
    const parsed = SECTIONS[name].safeParse(environment);
    if (parsed.success) config[name] = parsed.data;
    else faults.push(...parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`));
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return config as Config<Names>;
}
