/** The direction of imports (design.md, "Layout") and what else holds for every file of src/. */
import { globSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

/**
 * What each part may import of those below it. A part is a folder of src/ or a file beside them (`cli` is both); `type X`
 * is for types alone, which are gone when the code runs; a longer path allows that file only.
 */
const ALLOWED: Record<string, readonly string[]> = {
  cli: ['app', 'config', 'ops', 'queue', 'sync', 'calico', 'db', 'sandbox'],
  app: ['config', 'ops', 'queue', 'sync', 'calico', 'db'],
  config: ['type db/vault'],
  ops: ['db/errors'],
  queue: ['type sync/outcome'],
  sync: ['calico', 'db'],
  calico: [],
  db: [],
  sandbox: [],
};

/** Packages that one part, or two, keep from the others. */
const HOMES: Record<string, readonly string[]> = {
  bullmq: ['queue'],
  ioredis: ['queue'],
  'rate-limiter-flexible': ['queue'],
  'drizzle-orm': ['db', 'cli'], // the demo asks questions of its own
  pg: ['db', 'queue'], // BullMQ's own migrations want a client of pg
  commander: ['cli'],
};

const MOST_LINES = 300;

/** Source texts by path below src/. */
type Tree = ReadonlyMap<string, string>;
type Import = { from: string; to: string; typeOnly: boolean };

/** Everything that breaks a rule, a line each. */
function faultsOf(tree: Tree): string[] {
  const imports = [...tree].flatMap(([path, source]) => importsOf(path, source));
  return [
    ...imports.flatMap((one) => importFaults(tree, one)),
    ...[...tree].flatMap(([path, source]) => sourceFaults(path, source)),
  ];
}

function importsOf(path: string, source: string): Import[] {
  const statements = source.matchAll(/^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm);
  const calls = source.matchAll(/\bimport\(\s*'([^']+)'/g);
  return [
    ...statements.map(([, type, to = '']) => ({ from: path, to, typeOnly: type !== undefined })),
    ...calls.map(([, to = '']) => ({ from: path, to, typeOnly: false })),
  ].map((one) => (one.to.startsWith('.') ? { ...one, to: `./${posix.join(path, '..', one.to)}` } : one));
}

/** The part that a path below src/ belongs to. */
function partOf(path: string): string {
  return path.replace(/^\.\//, '').replace(/(?:\.ts$|\/.*)/, '');
}

function importFaults(tree: Tree, { from, to, typeOnly }: Import): string[] {
  const part = partOf(from);
  if (!to.startsWith('.')) {
    const [name = '', scope] = /^(@[^/]+\/)?[^/]+/.exec(to) ?? [];
    const homes = HOMES[scope ? to : name];
    return !homes || homes.includes(part)
      ? []
      : [`${from} imports ${name}, which is ${homes.join(' and ')}’s`];
  }
  const target = to.slice(2);
  if (!tree.has(target)) return [`${from} imports ${target}, which is no file of src/`];
  const other = partOf(target);
  if (other === part) return [];
  const file = target.replace(/\.ts$/, '');
  const allowed = (ALLOWED[part] ?? []).some((rule) => {
    const [, onlyType, what] = /^(type )?(.+)$/.exec(rule) ?? [];
    return (what === other || what === file) && (typeOnly || !onlyType);
  });
  return allowed ? [] : [`${from} imports ${target}${typeOnly ? ' (types)' : ''}`];
}

function sourceFaults(path: string, source: string): string[] {
  const code = source.replaceAll(/\/\*.*?\*\/|(?<!:)\/\/.*?$/gms, '');
  const lines = source.trimEnd().split('\n').length;
  return [
    ...(ALLOWED[partOf(path)] ? [] : [`${path} is of no part that the layout has`]),
    ...(lines > MOST_LINES ? [`${path} has ${lines} lines`] : []),
    ...(/^export default\b|\bas default\b/m.test(code) ? [`${path} has a default export`] : []),
    ...(/(?:[:<|&,(=]|\bas)\s*any\b/.test(code) ? [`${path} has an any`] : []),
    ...(path !== 'config.ts' && /\bprocess\s*(?:\??\.|\[['"])\s*env\b|\benv\b.*'node:process'/.test(code)
      ? [`${path} reads process.env`]
      : []),
  ];
}

const src = fileURLToPath(new URL('../src', import.meta.url));
const paths = globSync('**/*.ts', { cwd: src });

test('src/ keeps every rule', () => {
  expect(paths.length).toBeGreaterThan(50);
  expect(faultsOf(new Map(paths.map((path) => [path, readFileSync(`${src}/${path}`, 'utf8')])))).toEqual([]);
});

test('what records are read by is what their normalizing runs, so that none passes as known that would be read otherwise', () => {
  const read = (path: string) => readFileSync(`${src}/${path}`, 'utf8');
  const reached = new Set(['sync/normalize/assets.ts', 'sync/normalize/transactions.ts']);
  for (const path of reached)
    for (const { to, typeOnly } of importsOf(path, read(path)))
      if (!typeOnly && /^\.\/(?:calico|sync\/normalize)\//.test(to)) reached.add(to.slice(2));
  const reading = 'sync/normalize/reading.ts';
  expect(reached.delete(reading)).toBe(true);
  const named = read(reading).matchAll(/^ {2}'(\..+)',$/gm);
  expect([...named.map(([, file = '']) => posix.join(reading, '..', file))].toSorted()).toEqual(
    [...reached].toSorted(),
  );
});

test('every part has files, so that no rule is for nothing', () => {
  expect([...new Set(paths.map(partOf))].toSorted()).toEqual(Object.keys(ALLOWED).toSorted());
});

test('the rules allow no circle: every part imports those below it only', () => {
  const order = Object.keys(ALLOWED);
  for (const [part, rules] of Object.entries(ALLOWED)) {
    const below = order.slice(order.indexOf(part) + 1);
    expect(below).toEqual(expect.arrayContaining(rules.map((rule) => partOf(rule.replace('type ', '')))));
  }
});

describe('would be found:', () => {
  const sound: Record<string, string> = {
    'cli.ts': "import { startWorker } from './app.ts';\n",
    'app.ts':
      "import {\n  readConfig,\n} from './config.ts';\nimport { runSync } from './sync/run-sync.ts';\n",
    'config.ts': "import type { KeyRing } from './db/vault.ts';\nexport const env = process.env;\n",
    'queue/processor.ts':
      "import { Queue } from 'bullmq';\nimport type { Outcome } from '../sync/outcome.ts';\n",
    'sync/run-sync.ts':
      "import { send } from '../calico/client.ts';\nimport { open } from '../db/vault.ts';\n",
    'sync/outcome.ts': 'export type Outcome = string;\n',
    'sync/normalize/assets.ts': "import { send } from '../../calico/client.ts';\n",
    'calico/client.ts': '// any default, e.g. https://process.env\nexport const send = 1;\n',
    'db/vault.ts': "import { sql } from 'drizzle-orm/pg-core';\nexport type KeyRing = string;\n",
  };
  const treeWith = (path: string, source: string): Tree =>
    new Map([...Object.entries(sound), [path, (sound[path] ?? '') + source]]);

  test('nothing in a tree that keeps the rules', () => {
    expect(faultsOf(new Map(Object.entries(sound)))).toEqual([]);
  });

  test.each([
    ['an import against the direction', 'calico/client.ts', "import { open } from '../db/vault.ts';"],
    ['one from deeper down', 'sync/normalize/assets.ts', "import { p } from '../../queue/processor.ts';"],
    ['one of types', 'db/vault.ts', "import type { Outcome } from '../sync/outcome.ts';"],
    ['a value where types are allowed', 'queue/processor.ts', "import { o } from '../sync/outcome.ts';"],
    [
      'another file than the one allowed',
      'queue/processor.ts',
      "import type { R } from '../sync/run-sync.ts';",
    ],
    ['one over several lines', 'calico/client.ts', "import {\n  open,\n} from '../db/vault.ts';"],
    ['one for its effect', 'calico/client.ts', "import '../db/vault.ts';"],
    ['a re-export', 'calico/client.ts', "export * from '../db/vault.ts';"],
    ['one when it runs', 'calico/client.ts', "const vault = await import('../db/vault.ts');"],
    ['tests in use', 'app.ts', "import { waitFor } from '../test/support/wait-for.ts';"],
    ['a file that is not there', 'app.ts', "import { gone } from './gone.ts';"],
    ['bullmq outside queue/', 'sync/run-sync.ts', "import type { Job } from 'bullmq';"],
    ['drizzle outside db/', 'app.ts', "import { drizzle } from 'drizzle-orm/node-postgres';"],
    ['process.env outside config.ts', 'app.ts', "const home = process.env['HOME'];"],
    ['the same by another way', 'app.ts', "import { env } from 'node:process';"],
    ['a default export', 'app.ts', 'export default 1;'],
    ['an any', 'app.ts', 'const one = two as any;'],
    ['an any in a type', 'app.ts', 'type Two = Record<string, any>;'],
    ['a file too long', 'app.ts', `${'\n'.repeat(MOST_LINES)}const last = 1;`],
    ['a file of no part', 'helpers/all.ts', ''],
  ])('%s', (_what, path, source) => {
    expect(faultsOf(treeWith(path, source))).toEqual([expect.stringMatching(`^${path} `)]);
  });
});
