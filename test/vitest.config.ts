import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** Where .ci/run wants the figures it judges by; people need none. */
const summaryFile = process.env['TEST_SUMMARY_FILE'];

/** `npm test`; with `--mode reliability` what it has a sample of, at its full size. */
export default defineConfig(({ mode }) => ({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    include: [mode === 'reliability' ? 'test/reliability/**/*.test.ts' : 'test/**/*.test.ts'],
    exclude: mode === 'reliability' ? [] : ['test/reliability/**'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/each-file.ts'],
    pool: 'forks',
    // A second of each process's start.
    execArgv: ['--import', new URL('../src/cli/quick-imports.ts', import.meta.url).href],
    // A process runs one file after the other: loading drizzle, BullMQ and the rest anew takes 1.5 CPU seconds a file. What
    // belongs to each file is in each-file.ts. The long files measure memory and time, and have a process each.
    isolate: mode === 'reliability',
    // All files share one Postgres and one Redis; the build machines have two cores. The long ones want them alone.
    maxWorkers: mode === 'reliability' ? 1 : 3,
    // A dozen commands in one test, each of which takes up to five seconds on a busy machine.
    testTimeout: mode === 'reliability' ? 600_000 : 120_000,
    hookTimeout: 90_000,
    retry: 0,
    allowOnly: process.env['CI'] === undefined,
    reporters: summaryFile === undefined ? ['default'] : ['default', ['json', { outputFile: summaryFile }]],
  },
}));
