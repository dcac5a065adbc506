/** What makes processes of Node that tests start load faster: half a CPU second instead of two and a half. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** For `NODE_COMPILE_CACHE`: what is compiled once is kept. */
export const COMPILE_CACHE = join(tmpdir(), 'calico-sync-tests-compile-cache');

/** Node's arguments: what the command imports first. test/vitest.config.ts has them for the test files. */
export const QUICK_IMPORTS = ['--import', new URL('../../src/cli/quick-imports.ts', import.meta.url).href];
