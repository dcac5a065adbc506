/** The soak itself: syncs without a pause while data changes and everything fails; then calm, and a look at what is left. */
import { setTimeout as sleep } from 'node:timers/promises';
import { drawsFrom } from '../../src/sandbox/generate-random.ts';
import { differencesFromCalico } from '../support/as-calico-has-it.ts';
import { faultsOf } from '../support/crash/digest.ts';
import { waitFor } from '../support/wait-for.ts';
import { OWN_NAME, type Sample, sampleTables } from './samples.ts';
import { openStage, type Stage, type StageOptions } from './stage.ts';
import { addTroubles } from './troubles.ts';

export type SoakOptions = StageOptions & {
  minutes: number;
  /** Told of each sample and of each trouble. */
  onProgress?: (line: string) => void;
};

export type SoakResult = {
  samples: Sample[];
  /** What became of it at the end, a line each; empty where all is as Calico has it. */
  wrong: string[];
  /** How often what was done. */
  done: Record<string, number>;
  /** What the worker logged as an error, and how often. */
  logged: Readonly<Record<string, number>>;
};

const MOST_BETWEEN_SAMPLES_MS = 10_000;
const SAMPLES_AT_LEAST = 40;
/** A trouble of the servers every so many samples: two minutes in an hour. */
const SAMPLES_A_TROUBLE = 12;
const CHANGE_EVERY_MS = 100;
/** For the runs that were under way when all became calm, and the waits they had. */
const REST_MS = 120_000;

/** Runs it. Null where there is no redis-server. What breaks off is `wrong`: the samples until then are worth having. */
export async function runSoak(options: SoakOptions): Promise<SoakResult | null> {
  const stage = await openStage(options);
  if (!stage) return null;
  try {
    const { samples, done } = await trouble(stage, options);
    const wrong = await calm(stage).catch((error: unknown) => [String(error)]);
    return { samples, wrong, done, logged: stage.worker.errors() };
  } finally {
    await stage.close();
  }
}

async function trouble(
  stage: Stage,
  { minutes, customers, everySeconds, seed, onProgress = () => {} }: SoakOptions,
): Promise<Pick<SoakResult, 'samples' | 'done'>> {
  const { churn, queue, sandbox, rows, worker } = stage;
  const spoiled = addTroubles(sandbox.faults, drawsFrom(seed, 10));
  // About one change a customer between two of its syncs.
  let owed = 0;
  const changing = setInterval(() => {
    owed += (customers * CHANGE_EVERY_MS) / (everySeconds * 1_000);
    churn.change(Math.floor(owed));
    owed %= 1;
  }, CHANGE_EVERY_MS);
  const cutPostgres = () =>
    rows(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND application_name LIKE 'calico-sync%' AND application_name <> $1`,
      [OWN_NAME],
    );
  // Postgres first: whose turn could not be written waits for its lease to run out, a minute, and a short soak for them.
  const troubles = Object.entries({ 'all connections to Postgres cut': cutPostgres, ...queue.troubles });
  const done: Record<string, number> = {};
  const count = (what: string, times = 1) => {
    done[what] = (done[what] ?? 0) + times;
  };
  const samples: Sample[] = [];
  const durationMs = minutes * 60_000;
  const stepMs = Math.min(MOST_BETWEEN_SAMPLES_MS, durationMs / SAMPLES_AT_LEAST);
  const from = performance.now();
  try {
    for (let step = 1; step * stepMs <= durationMs; step++) {
      await sleep(from + step * stepMs - performance.now());
      if (worker.hasEnded()) break;
      const sample = await take(stage, performance.now() - from);
      samples.push(sample);
      onProgress(lineOf(sample));
      count('customers who signed in again', await stage.signInAgain());
      if (step % SAMPLES_A_TROUBLE !== 0) continue;
      const [name, make] = troubles[(step / SAMPLES_A_TROUBLE - 1) % troubles.length] ?? [];
      if (name === undefined) continue;
      await make?.();
      count(name);
      onProgress(name);
    }
  } finally {
    clearInterval(changing);
  }
  count('changes at Calico', churn.changes());
  count('answers spoiled', spoiled());
  return { samples, done };
}

async function take({ pool, queue, rows, worker }: Stage, atMs: number): Promise<Sample> {
  const [counts] = await rows<{ connections: number; syncs: number }>(
    `SELECT (SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database()
         AND backend_type = 'client backend' AND application_name <> $1) AS connections,
       (SELECT count(*)::int FROM calico.sync_runs WHERE finished_at IS NOT NULL) AS syncs`,
    [OWN_NAME],
  );
  return {
    atMs,
    worker: await worker.sample(),
    queue: await queue.sample(),
    postgresConnections: counts?.connections ?? 0,
    syncs: counts?.syncs ?? 0,
    tables: await sampleTables(pool),
  };
}

/**
 * Nothing fails and nothing changes any more. Two full syncs of everybody: the first ends what was under way, and a full
 * pass that another run began proves no removals; the second is whole. Then the worker is told to stop.
 */
async function calm(stage: Stage): Promise<string[]> {
  const { churn, rows, sandbox, signInAgain, worker } = stage;
  if (worker.hasEnded()) return ['the worker ended by itself'];
  sandbox.faults.clear();
  churn.settle();
  await signInAgain();
  await rows("UPDATE calico.customers SET sync_interval = interval '1 day'");
  for (const _round of ['what was under way', 'whole']) {
    await rows("UPDATE calico.customers SET next_sync_at = now(), requested_mode = 'full'");
    const busy = async () => {
      await rows('UPDATE calico.customers SET not_before = NULL WHERE not_before > now()');
      return rows(
        'SELECT customer_id, status, next_sync_at FROM calico.customers WHERE next_sync_at <= now() OR lease_until IS NOT NULL',
      );
    };
    await waitFor(busy, {
      describe: 'everybody to be at rest',
      until: ({ length }) => length === 0,
      timeoutMs: REST_MS,
    });
  }
  const { code, tookMs } = await worker.stop();
  return [
    ...(code === 0 && tookMs < 10_000 ? [] : [`the worker ended with ${code} after ${tookMs} ms`]),
    ...(await differencesFromCalico(stage, churn.data, churn.data.customerIds())),
    ...(await faultsOf(stage, churn.data.customerIds())),
    ...(await open(stage)),
  ];
}

/** What still waits for somebody though nothing is wrong at Calico any more. */
async function open({ rows }: Stage): Promise<string[]> {
  const found = await rows<{ what: string }>(
    `SELECT customer_id || ' is ' || status AS what FROM calico.customers WHERE status <> 'active'
     UNION ALL SELECT customer_id || ' is leased' FROM calico.customers WHERE lease_until IS NOT NULL
     UNION ALL SELECT customer_id || ' has an open dead letter: ' || reason FROM calico.dead_letters
       WHERE resolved_at IS NULL AND replayed_at IS NULL AND discarded_at IS NULL
     UNION ALL SELECT customer_id || ' has a quarantined record ' || record_key FROM calico.quarantined_records
       WHERE resolved_at IS NULL
     UNION ALL SELECT customer_id || ' has removals held' FROM calico.held_removals
       WHERE approved_at IS NULL AND rejected_at IS NULL AND superseded_at IS NULL
     UNION ALL SELECT 'a pass that is over keeps ' || count(*) || ' pages' FROM calico.sync_pages HAVING count(*) > 0`,
  );
  return found.map(({ what }) => what);
}

function lineOf({ atMs, worker, queue, postgresConnections, syncs, tables }: Sample): string {
  const bytes = Object.values(tables).reduce((sum, table) => sum + table.bytes, 0);
  const dead = Object.values(tables).reduce((sum, table) => sum + table.dead, 0);
  const keys = Object.values(queue.keys).reduce((sum, some) => sum + some, 0);
  return [
    `${(atMs / 60_000).toFixed(1)} min: ${syncs} syncs, ${worker.rssMb.toFixed(0)} MB`,
    `heap ${worker.heapMb ?? '-'}, ${worker.handles} handles, ${(worker.cpuMs / 1_000).toFixed(0)} s CPU`,
    `${postgresConnections} + ${queue.connections} connections, ${keys} keys, ${queue.memoryMb.toFixed(1)} MB`,
    `tables ${(bytes / 2 ** 20).toFixed(1)} MB, ${dead} dead rows`,
  ].join('; ');
}
