import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const APP = new URL('../../src/app.ts', import.meta.url).href;
/** V8's own question, of a process that has loaded what a worker loads. */
const SCRIPT = `await import(${JSON.stringify(APP)}); console.log(%HasFastProperties(String.prototype));`;

it('no library that a worker loads leaves it with slow strings', async () => {
  const args = ['--allow-natives-syntax', '--input-type=module', '--eval', SCRIPT];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  expect(stdout.trim()).toBe('true');
});
