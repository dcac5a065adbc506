import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type InlineConfig, type TestSpecification } from 'vitest/node';
import { QUICK_IMPORTS } from './support/child-process.ts';

/** Where .ci/run wants the figures it judges by; people need none. */
const summaryFile = process.env['TEST_SUMMARY_FILE'];

/** Half a minute and more each, the longest first: where one of them began last, a core would have nothing to do for as long. */
const LONG = [
  ...['simulation', 'crash-points', 'every-answer', 'demo', 'outage', 'sync-under-way', 'stopping', 'worker'],
  ...['removals', 'moving-pages'],
];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rankOf = ({ moduleId }: TestSpecification) => {
      const rank = LONG.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return rank < 0 ? LONG.length : rank;
    };
    const sorted = await super.sort(files);
    return sorted.toSorted((one, other) => rankOf(one) - rankOf(other));
  }
}

const root = fileURLToPath(new URL('..', import.meta.url));
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
  maxWorkers: 4,
  // A dozen commands in one test, each of which takes up to five seconds on a busy machine.
  testTimeout: 120_000,
};

const filesOf = (tests: readonly string[]) => tests.map((test) => `test/reliability/${test}.test.ts`);
/** They compute and have no clock to keep. */
const COMPUTING = filesOf([
  ...['simulation', 'crash-points', 'removals', 'moving-pages', 'prism-mock', 'poison'],
]);
/** They wait more than they compute, for servers of their own. */
const WAITING = filesOf(['real-signals', 'real-faults', 'postgres-restarts', 'full-postgres', 'soak']);

/** Files that run beside each other in no more processes than that, after the groups before it. */
const group = (order: number, maxWorkers: number, test: InlineConfig) => ({
  root,
  test: {
    ...{ ...files, ...test, maxWorkers },
    ...{ name: `${order}`, isolate: true, testTimeout: 1_200_000 },
    sequence: { groupOrder: order, sequencer: LongFirst },
  },
});

/** At full size. What is in neither list measures time, and wants nobody beside it. */
const full = {
  projects: [
    group(1, 2, { include: COMPUTING }),
    group(2, 2, { include: WAITING }),
    group(3, 1, { include: ['test/reliability/**/*.test.ts'], exclude: [...COMPUTING, ...WAITING] }),
  ],
};

/** `npm test`; with `--mode reliability` what it has a sample of, at its full size. */
export default defineConfig(({ mode }) => ({
  root,
  test: { ...run, ...(mode === 'reliability' ? full : { ...files, ...sample }) },
}));
