/** Where the benchmarks measure: a Postgres and a sandbox of their own, fresh databases, and what a piece of work costs there. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/sandbox/embedded-postgres.ts';
import { asAdmin, createTemplate, templateName, urlOfDatabase } from '../support/database-template.ts';
import type { SandboxPlace, SandboxSetup, SeenRequest } from './bench-sandbox.ts';

export type Stand = {
  postgres: EmbeddedPostgres;
  sandbox: SandboxPlace;
  sandboxPid: number;
  /** What the sandbox was asked since this was called last, in order. */
  requestsSince(): Promise<SeenRequest[]>;
  /** Migrated, and nothing in it. */
  freshDatabase(): Promise<string>;
  dropDatabase(url: string): Promise<void>;
  close(): Promise<void>;
};

/** What a piece of work cost: CPU in seconds, WAL in bytes, memory as the highest resident set of a process in bytes. */
export type Cost = {
  seconds: number;
  workerCpu: number;
  postgresCpu: number;
  sandboxCpu: number;
  wal: number;
  memory: number;
};

const PREFIX = 'bench';

/** For a stand whose sandbox nobody asks. */
export const NOBODY: SandboxSetup = { sizes: [], madeBefore: true, latencyMs: 0 };

/**
 * Postgres with its own defaults, as a server that keeps data has them: fsync, synchronous_commit and full_page_writes on.
 * `settings`: what is not as it comes.
 */
export async function openStand(
  setup: SandboxSetup,
  settings: Readonly<Record<string, string>> = {},
): Promise<Stand> {
  const postgres = await startEmbeddedPostgres({ settings });
  const sandbox = fork(pathOf('bench-sandbox.ts'), [JSON.stringify(setup)]);
  try {
    const place = await answerOf<SandboxPlace>(sandbox);
    await createTemplate(postgres.url, PREFIX);
    let databases = 0;
    return {
      postgres,
      sandbox: place,
      sandboxPid: sandbox.pid ?? 0,
      requestsSince: () => {
        sandbox.send('requests');
        return answerOf<SeenRequest[]>(sandbox);
      },
      freshDatabase: async () => {
        const name = `${PREFIX}_${++databases}`;
        await asAdmin(postgres.url, `CREATE DATABASE ${name} TEMPLATE ${templateName(PREFIX)}`);
        return urlOfDatabase(postgres.url, name);
      },
      dropDatabase: async (url) => {
        await asAdmin(postgres.url, `DROP DATABASE ${new URL(url).pathname.slice(1)} WITH (FORCE)`);
      },
      close: async () => {
        sandbox.disconnect();
        await postgres.stop();
      },
    };
  } catch (error) {
    sandbox.kill();
    await postgres.stop();
    throw error;
  }
}

export const pathOf = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** A forked process's next message. @throws where it ends instead */
export async function answerOf<T>(child: ChildProcess): Promise<T> {
  const over = new AbortController();
  const { signal } = over;
  const ended = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`a process of the benchmark ended by itself (${code})`);
  });
  try {
    const [message] = await Promise.race([once(child, 'message', { signal }), ended]);
    return message as T;
  } finally {
    ended.catch(() => {});
    over.abort();
  }
}

/** The ids of the sandbox's first `count` customers. */
export const customerIds = (count: number) =>
  Array.from({ length: count }, (_, index) => `customer-${String(index + 1).padStart(4, '0')}`);

export const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/** Fresh tokens of the sandbox's for a customer. */
export async function issueTokens(sandbox: SandboxPlace, customerId: string) {
  const url = new URL(`/sandbox/tokens/${customerId}`, sandbox.apiUrl);
  const answer = await fetch(url, { method: 'POST' });
  return (await answer.json()) as { access_token: string; refresh_token: string };
}

/**
 * Runs `work`, which says how many seconds count, right after a checkpoint: full page images are the same for everybody.
 * `pids`: the processes whose CPU and memory count; none where Postgres does it all.
 */
export async function measure(
  { postgres, sandboxPid }: Pick<Stand, 'postgres' | 'sandboxPid'>,
  pids: readonly number[],
  work: () => Promise<number>,
): Promise<Cost> {
  await asAdmin(postgres.url, 'CHECKPOINT');
  const client = new pg.Client(postgres.url);
  await client.connect();
  const look = async () => {
    const { rows } = await client.query<{ wal: string }>(
      `SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal`,
    );
    return {
      wal: Number(rows[0]?.wal),
      worker: pids.reduce((sum, pid) => sum + statOf(pid).cpu, 0),
      postgres: cpuOfTree(postgres.pid),
      sandbox: statOf(sandboxPid).cpu,
    };
  };
  for (const pid of pids) writeFileSync(`/proc/${pid}/clear_refs`, '5'); // the highest resident set begins anew
  const before = await look();
  const seconds = await work();
  const after = await look();
  await client.end();
  return {
    seconds,
    workerCpu: after.worker - before.worker,
    postgresCpu: after.postgres - before.postgres,
    sandboxCpu: after.sandbox - before.sandbox,
    wal: after.wal - before.wal,
    memory: Math.max(0, ...pids.map((pid) => memoryOf(pid, 'VmHWM'))),
  };
}

/** Linux counts CPU in ticks, 100 a second on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/** proc(5). `cpu`: user and system; `ended`: of children that it has waited for. Seconds. */
function statOf(pid: number): { parent: number; cpu: number; ended: number } {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const seconds = (...indexes: number[]) =>
    indexes.reduce((sum, at) => sum + Number(fields[at]), 0) / TICKS_PER_SECOND;
  return { parent: Number(fields[1]), cpu: seconds(11, 12), ended: seconds(13, 14) };
}

/** The postmaster, its children, and those that have ended: it waits for every one of them. */
export function cpuOfTree(postmaster: number): number {
  for (;;) {
    const own = statOf(postmaster);
    const children = readdirSync('/proc').reduce(
      (sum, name) => sum + cpuOfChild(Number(name), postmaster),
      0,
    );
    // One that ended in between is in neither: look again.
    if (statOf(postmaster).ended === own.ended) return own.cpu + own.ended + children;
  }
}

function cpuOfChild(pid: number, postmaster: number): number {
  if (Number.isNaN(pid)) return 0;
  try {
    const { parent, cpu } = statOf(pid);
    return parent === postmaster ? cpu : 0;
  } catch {
    return 0; // it has ended
  }
}

/** Bytes: resident now (VmRSS), and the most since that mark was reset (VmHWM). */
export function memoryOf(pid: number, figure: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${figure}:\\s+(\\d+)`, 'm').exec(status)?.[1]) * 1024;
}
