/**
 * `npm run simulate -- --seed 42`: plays a seed and prints everything that happens in it (of the turns after its
 * trouble, how each ends); the same each time.
 * `--seeds 500` goes on from there, `--minutes 120` for so long, `--until-failure` no further than it has to: then it says how
 * many there were and what failed.
 */
import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { cloneTemplate, createTemplate, dropTestDatabases, urlOfDatabase } from '../database-template.ts';
import { findOrStartPostgres } from '../servers.ts';
import { playSeeds } from './play.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string' },
    minutes: { type: 'string' },
    'until-failure': { type: 'boolean', default: false },
  },
});
const first = Number(values.seed);
const isSingle = values.seeds === undefined && values.minutes === undefined;
const endMs = Date.now() + Number(values.minutes ?? Number.POSITIVE_INFINITY) * 60_000;
/** A process each: while it waits, its Postgres computes. */
const lanes = isSingle ? 1 : availableParallelism();

const postgres = await findOrStartPostgres();
const prefix = `calico_sim_${randomBytes(4).toString('hex')}`;
try {
  await createTemplate(postgres.url, prefix);
  const names = Array.from({ length: lanes }, (_none, lane) => `${prefix}_${lane}`);
  for (const name of names) await cloneTemplate(postgres.url, prefix, name);
  const beganMs = Date.now();
  let isFailed = false;
  const { played, failed, tally } = await playSeeds({
    databaseUrls: names.map((name) => urlOfDatabase(postgres.url, name)),
    first,
    goesOn: () => Date.now() < endMs && !(isFailed && values['until-failure']),
    seeds: isSingle ? 1 : Number(values.seeds ?? Number.POSITIVE_INFINITY),
    onVerdict: ({ trace, faults, seed }) => {
      isFailed ||= faults.length > 0;
      if (isSingle) print(trace.join('\n'));
      else if (faults.length > 0) print(`seed ${seed}:\n  ${faults.join('\n  ')}`);
    },
  });
  const seconds = Math.round((Date.now() - beganMs) / 1_000);
  if (isSingle) print(failed.length > 0 ? 'It breaks a promise.' : 'It keeps every promise.');
  else {
    const happened = Object.entries(tally).map(([what, times]) => `${times} ${what}`);
    print(
      `${happened.toSorted().join(', ')}\n${played} seeds from ${first} in ${seconds} s, ${failed.length} failed`,
    );
  }
  process.exitCode = failed.length > 0 ? 1 : 0;
} finally {
  await dropTestDatabases(postgres.url, prefix);
  await postgres.stop();
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
