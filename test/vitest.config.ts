import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** Where .ci/run wants the figures it judges by; people need none. */
const summaryFile = process.env['TEST_SUMMARY_FILE'];

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    include: ['test/**/*.test.ts'],
    // Hours and gigabytes, run on their own.
    exclude: ['test/bench/**', 'test/reliability/**'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    // All files share one Postgres and one Redis; the build machines have two cores.
    maxWorkers: 3,
    testTimeout: 90_000,
    hookTimeout: 90_000,
    retry: 0,
    allowOnly: process.env['CI'] === undefined,
    reporters: summaryFile === undefined ? ['default'] : ['default', ['json', { outputFile: summaryFile }]],
  },
});
