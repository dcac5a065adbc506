/**
 * An hour of syncs with faults, by hand: `npm run soak -- [--minutes 60] [--customers 200] [--every 30] [--queue redis]
 * [--seed 1] [--json file]`. Ends with 1 where a series is not flat or something is wrong at the end. Linux only.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { type Judgement, judge } from './judge.ts';
import { runSoak } from './run-soak.ts';
import { GROWING, type Sample, seriesOf } from './samples.ts';

/** Of the samples: caches fill, code is compiled, tables find their size. */
const WARM_UP_SHARE = 1 / 6;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    customers: { type: 'string', default: '200' },
    every: { type: 'string', default: '30' },
    queue: { type: 'string', default: 'redis' },
    seed: { type: 'string', default: '1' },
    json: { type: 'string' },
  },
});
const say = (line: string) => void process.stdout.write(`${line}\n`);

// What it has started ends with it.
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    say(`ended by ${signal}`);
    process.exit(1);
  });

const result = await runSoak({
  minutes: Number(values.minutes),
  customers: Number(values.customers),
  everySeconds: Number(values.every),
  queue: values.queue === 'postgres' ? 'postgres' : 'redis',
  seed: Number(values.seed),
  onProgress: say,
});
if (!result) throw new Error('there is no redis-server in PATH');
if (values.json) await writeFile(values.json, JSON.stringify(result));
const { samples, wrong, done, logged } = result;
const warm = samples.slice(Math.ceil(samples.length * WARM_UP_SHARE));
const judgements = seriesOf(warm).map(judge);

say('\n| | first quarter | last quarter | highest | most allowed | |\n|---|---|---|---|---|---|');
for (const judgement of judgements) say(rowOf(judgement));
say('');
for (const line of growthOf(warm)) say(line);
say(`queue keys at the last sample: ${JSON.stringify(samples.at(-1)?.queue.keys)}`);
say(`done: ${JSON.stringify(done)}`);
say(`the worker’s errors: ${JSON.stringify(logged)}`);
for (const line of wrong.slice(0, 20)) say(`wrong at the end: ${line}`);
const unsteady = judgements.filter(({ isFlat }) => isFlat === false);
say(unsteady.length === 0 ? 'flat' : `not flat: ${unsteady.map(({ name }) => name).join(', ')}`);
say(
  wrong.length === 0
    ? 'at rest everything is as Calico has it'
    : `${wrong.length} things are wrong at the end`,
);
process.exitCode = unsteady.length + wrong.length === 0 ? 0 : 1;

function rowOf({ name, unit, first, last, highest, most, isFlat }: Judgement): string {
  const [one, two, three, four] = [first, last, highest, most].map((value) =>
    `${round(value)} ${unit}`.trim(),
  );
  const verdict = isFlat === null ? 'too few' : isFlat ? 'flat' : '**not flat**';
  return `| ${name} | ${one} | ${two} | ${three} | ${four} | ${verdict} |`;
}

/** Tables that grow: how much a sync adds. */
function growthOf(some: readonly Sample[]): string[] {
  const [first, last] = [some.at(0), some.at(-1)];
  if (!first || !last) return [];
  const syncs = last.syncs - first.syncs;
  const cpu = (last.worker.cpuMs - first.worker.cpuMs) / syncs;
  const tables = GROWING.flatMap((name) => {
    const [before, after] = [first.tables[name], last.tables[name]];
    if (!before || !after) return [];
    const bytes = round((after.bytes - before.bytes) / syncs);
    return [`${name}: ${((after.rows - before.rows) / syncs).toFixed(3)} rows and ${bytes} bytes a sync`];
  });
  const rate = (syncs / (last.atMs - first.atMs)) * 1_000;
  return [
    `${last.syncs} syncs, ${rate.toFixed(1)} a second, ${cpu.toFixed(1)} ms of the worker’s CPU each`,
    ...tables,
  ];
}

function round(value: number): number {
  return Number(value < 100 ? value.toFixed(1) : value.toFixed(0));
}
