/** The soak of an hour is run by hand (`npm run soak`); this keeps it alive. What it calls flat is in test/soak/judge.test.ts. */
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { runSoak } from '../soak/run-soak.ts';
import { seriesOf } from '../soak/samples.ts';
import { reportFigures } from '../support/figures.ts';

test('a soak of seconds has its troubles and its samples, and ends with everything as Calico has it', async ({
  skip,
  annotate,
}) => {
  if (!existsSync('/proc/self/status')) return skip('no /proc: it samples on Linux only');
  const result = await runSoak({ minutes: 0.4, customers: 20, everySeconds: 2, queue: 'redis', seed: 1 });
  if (!result) return skip('no redis-server in PATH');

  const { samples, wrong, done } = result;
  await annotate(`${samples.at(-1)?.syncs} syncs; ${JSON.stringify(done)}`);
  expect(wrong).toEqual([]);
  expect(samples.length).toBeGreaterThanOrEqual(39);
  expect(samples.at(-1)?.syncs).toBeGreaterThanOrEqual(20);
  expect(done).toMatchObject({
    FLUSHALL: 1,
    'all connections to Postgres cut': 1,
    'all connections to Redis cut': 1,
  });
  expect(done['answers spoiled']).toBeGreaterThan(0);
  const empty = seriesOf(samples).filter(({ values }) => !values.some((value) => (value ?? 0) > 0));
  // A table of a row a failure has too few in this time, and nothing is held back.
  const small = empty.map(({ name }) => name).filter((name) => !/, a row$|^held_removal_rows$/.test(name));
  expect(small, 'series without a single value').toEqual([]);
  reportFigures({
    tried: 'Answers, queue and connections fail while data changes and customers are synced without a pause',
    often: '20 customers, 24 s; an hour of it is below',
    result: 'everything as Calico has it at the end',
  });
});
