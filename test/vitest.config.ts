import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type InlineConfig, type TestSpecification } from 'vitest/node';
import { QUICK_IMPORTS } from './support/child-process.ts';

/** Where .ci/run wants the figures it judges by; people need none. */
const summaryFile = process.env['TEST_SUMMARY_FILE'];

/** Half a minute and more each, the longest first: where one of them began last, a core would have nothing to do for as long. */
const LONG = [
  ...['simulation', 'crash-points', 'every-answer', 'demo', 'outage', 'sync-under-way', 'stopping', 'worker'],
  ...['real-faults', 'real-signals', 'fair', 'postgres-restarts', 'moving-pages', 'removals'],
];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rankOf = ({ moduleId }: TestSpecification) => {
      const rank = LONG.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return rank < 0 ? LONG.length : rank;
    };
    const groupOf = ({ project }: TestSpecification) => project.config.sequence.groupOrder;
    const sorted = await super.sort(files);
    return sorted.toSorted((one, other) => groupOf(one) - groupOf(other) || rankOf(one) - rankOf(other));
  }
}

/** Of time, in test/reliability: nobody else may be at work while they do. */
const MEASURING = ['drift-cost', 'liveness', 'soak'].map((name) => `test/reliability/${name}.test.ts`);

const root = fileURLToPath(new URL('..', import.meta.url));
/** The run's own; files hear of the servers that it starts. */
const run: InlineConfig = {
  globalSetup: ['test/support/global-setup.ts'],
  sequence: { sequencer: LongFirst },
  reporters: summaryFile === undefined ? ['default'] : ['default', ['json', { outputFile: summaryFile }]],
};
const files = {
  setupFiles: ['test/support/each-file.ts'],
  pool: 'forks' as const,
  execArgv: QUICK_IMPORTS,
  hookTimeout: 90_000,
  retry: 0,
  allowOnly: process.env['CI'] === undefined,
};

/** A sample of everything, and all that is quick. */
const sample = {
  include: ['test/**/*.test.ts'],
  exclude: ['test/reliability/**'],
  // A process runs one file after the other: loading drizzle, BullMQ and the rest anew takes half a CPU second a file. What
  // belongs to each file is in each-file.ts.
  isolate: false,
  // All files share one Postgres and one Redis; the build machines have two cores, and some files mostly wait.
  maxWorkers: 3,
  // A dozen commands in one test, each of which takes up to five seconds on a busy machine.
  testTimeout: 120_000,
};

/** At full size: first what may share the machine, two that compute and one that waits, then the rest one by one. */
const full = [
  {
    name: 'reliability',
    include: ['test/reliability/**/*.test.ts'],
    exclude: MEASURING,
    maxWorkers: 3,
    groupOrder: 1,
  },
  { name: 'measuring', include: MEASURING, maxWorkers: 1, groupOrder: 2 },
].map(({ groupOrder, ...of }) => ({
  root,
  test: { ...files, ...of, isolate: true, testTimeout: 600_000, sequence: { groupOrder } },
}));

/** `npm test`; with `--mode reliability` what it has a sample of, at its full size. */
export default defineConfig(({ mode }) => ({
  root,
  test: mode === 'reliability' ? { ...run, projects: full } : { ...run, ...files, ...sample },
}));
