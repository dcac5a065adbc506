/**
 * `npm run simulate -- --seed 42`: plays a seed and prints everything that happens in it; the same each time.
 * `--seeds 500` goes on from there, `--minutes 120` for so long, and say only how many there were and which of them failed.
 */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { asAdmin, createTemplate, dropTestDatabases, templateName, urlOfDatabase } from '../database-template.ts';
import { findOrStartPostgres } from '../servers.ts';
import { live, type Verdict } from './life.ts';
import { openStage } from './stage.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string' },
    minutes: { type: 'string' },
    moves: { type: 'boolean', default: false },
    tally: { type: 'boolean', default: false },
  },
});
const first = Number(values.seed);
const isSingle = values.seeds === undefined && values.minutes === undefined;
const seeds = isSingle ? 1 : Number(values.seeds ?? Number.POSITIVE_INFINITY);
const endMs = Date.now() + Number(values.minutes ?? Number.POSITIVE_INFINITY) * 60_000;

const postgres = await findOrStartPostgres();
const prefix = `calico_sim_${randomBytes(4).toString('hex')}`;
try {
  await createTemplate(postgres.url, prefix);
  const name = `${prefix}_1`;
  await asAdmin(postgres.url, `CREATE DATABASE ${name} TEMPLATE ${templateName(prefix)}`);
  const stage = await openStage(urlOfDatabase(postgres.url, name));
  const failed: Verdict[] = [];
  const tally: Record<string, number> = {};
  const beganMs = Date.now();
  let played = 0;
  for (; played < seeds && Date.now() < endMs; played++) {
    const verdict = await live(stage, first + played, { moves: values.moves });
    for (const [what, times] of Object.entries(verdict.tally)) tally[what] = (tally[what] ?? 0) + times;
    if (isSingle) console.log(verdict.trace.join('\n'));
    else if (verdict.faults.length > 0) console.log(`seed ${verdict.seed}:\n  ${verdict.faults.join('\n  ')}`);
    if (verdict.faults.length > 0) failed.push(verdict);
  }
  const seconds = (Date.now() - beganMs) / 1_000;
  await stage.close();
  if (values.tally) console.log(Object.entries(tally).toSorted().map(([what, times]) => `${times} ${what}`).join('\n'));
  if (isSingle) console.log(failed.length > 0 ? 'It breaks a promise.' : 'It keeps every promise.');
  else console.log(`${played} seeds from ${first} in ${seconds.toFixed(1)} s, ${failed.length} failed: ${failed.map(({ seed }) => seed).join(' ')}`);
  process.exitCode = failed.length > 0 ? 1 : 0;
} finally {
  await dropTestDatabases(postgres.url, prefix);
  await postgres.stop();
}
