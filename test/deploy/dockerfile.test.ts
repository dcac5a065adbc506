import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { z } from 'zod';

const root = fileURLToPath(new URL('../../', import.meta.url));
const fromRoot = (path: string) => readFileSync(root + path, 'utf8');

/** Instructions in order: the word and the rest of its line. */
const instructions = fromRoot('Dockerfile')
  .split('\n')
  .flatMap((line) => {
    const [, word, rest] = /^([A-Z]+)\s+(.+)$/.exec(line) ?? [];
    return word && rest ? [{ word, rest }] : [];
  });
const all = (word: string) => instructions.filter((one) => one.word === word).map(({ rest }) => rest);
const copied = all('COPY').flatMap((rest) => rest.split(/\s+/).slice(0, -1));

test('the image has the Node that the tests run on', () => {
  const { devDependencies } = z
    .object({ devDependencies: z.object({ node: z.string() }) })
    .parse(JSON.parse(fromRoot('package.json')));
  const major = /\d+/.exec(devDependencies.node)?.[0];
  expect(all('FROM')).toEqual([`node:${major}-slim`]);
});

test('everything it copies is there, and .dockerignore lets it and nothing else pass', () => {
  expect(copied).toEqual(expect.arrayContaining(['package-lock.json', 'migrations', 'src']));
  expect(copied.filter((path) => !existsSync(root + path))).toEqual([]);
  const [first, ...passing] = fromRoot('.dockerignore').trim().split('\n');
  expect(first).toBe('*');
  expect(passing.toSorted()).toEqual(copied.map((path) => `!${path}`).toSorted());
});

test('it runs as a user without rights, from its last instruction but one', () => {
  expect(instructions.slice(-2).map(({ word }) => word)).toEqual(['USER', 'CMD']);
  expect(all('USER')).toEqual(['node']);
});

test('the worker is process 1, without a shell that would keep SIGTERM to itself, and is a command there is', () => {
  expect(all('ENTRYPOINT')).toEqual([]);
  const [node, ...args] = z.array(z.string()).parse(JSON.parse(all('CMD').join()));
  expect(node).toBe('node');
  expect(execFileSync(process.execPath, [...args, '--help'], { cwd: root, encoding: 'utf8' })).toContain(
    'calico-sync worker',
  );
});
