/** What `doctor` looks at. Each check says what it found and, where that is not well, the next step. */
import { openQueue } from '../app.ts';
import { type Probed, probe, probeUrl } from '../calico/probe.ts';
import type { Config } from '../config.ts';
import type { Database } from '../db/client.ts';
import { tryKeys } from '../db/credentials.ts';
import { countByStatus } from '../db/customers.ts';
import type { KnownDrift } from '../db/drift.ts';
import { countPendingMigrations } from '../db/migrate.ts';
import { databaseNow, type Overview, postgresVersion } from '../db/situation.ts';
import { count, formatDuration, formatTime } from './format.ts';
import { plain } from './output.ts';
import { commandLog } from './session.ts';

export type State = 'ok' | 'warning' | 'failure';
/** `next`: what to do; null where there is nothing to do. */
export type Check = { name: string; state: State; says: string; next: string | null };

export const ok = (name: string, says: string): Check => ({ name, state: 'ok', says, next: null });
export const warning = (name: string, says: string, next: string): Check => ({
  name,
  state: 'warning',
  says,
  next,
});
export const failing = (name: string, says: string, next: string | null): Check => ({
  ...{ name, state: 'failure', says, next },
});

/** The oldest servers that this is tested on (README, "In production"). */
const OLDEST = { postgres: 15, redis: 7 };
/** Beyond this the times of two machines are not told apart from what happened in between. */
const MOST_SKEW_MS = 5_000;

export async function checkPostgres(db: Database, now: () => number): Promise<Check[]> {
  const began = now();
  const ourMs = (ms: number) => ms - (began + now()) / 2;
  const aheadMs = ourMs(await db.run(databaseNow));
  const version = await db.run(postgresVersion);
  const pending = await db.run(countPendingMigrations);
  const name = 'Postgres';
  return [
    Number.parseInt(version, 10) < OLDEST.postgres
      ? warning(name, `${version}`, `use Postgres ${OLDEST.postgres} or newer`)
      : ok(name, version),
    clock('clock of Postgres', aheadMs),
    pending > 0
      ? failing('migrations', `${pending} behind`, 'calico-sync migrate')
      : ok('migrations', 'up to date'),
  ];
}

function clock(name: string, aheadMs: number): Check {
  if (Math.abs(aheadMs) <= MOST_SKEW_MS) return ok(name, 'as ours');
  const says = `${formatDuration(Math.abs(aheadMs))} ${aheadMs > 0 ? 'ahead of' : 'behind'} ours`;
  return warning(name, says, 'set the clocks of these machines by NTP');
}

/** @throws where it is not reachable or not migrated, with the next step. */
export async function checkQueue(config: Config<'queue'>): Promise<Check[]> {
  const queue = await openQueue(config, commandLog);
  try {
    const server = await queue.server();
    const { waiting, active, delayed, failed } = await queue.counts();
    const [advice] = await queue.warnings();
    const says = `${server}; ${waiting} waiting, ${active} active, ${delayed} delayed, ${failed} failed lately`;
    const isOld = Number.parseInt(/^Redis (\d+)/.exec(server)?.[1] ?? '', 10) < OLDEST.redis;
    if (advice) return [warning('queue', says, advice)];
    return [isOld ? warning('queue', says, `use Redis ${OLDEST.redis} or newer`) : ok('queue', says)];
  } finally {
    await queue.close();
  }
}

export async function checkKeys(db: Database, { credentials }: Config<'credentials'>): Promise<Check[]> {
  const keys = credentials.CREDENTIALS_KEYS;
  const uses = await db.run((orm) => tryKeys(orm, keys));
  if (uses.length === 0) return [ok('keys', 'no tokens are stored yet')];
  return uses.map(({ keyId, customers, closed }) => {
    const name = `key ${plain(keyId)}`;
    const stored = `tokens of ${count(customers, 'customer')}`;
    if (!keys.has(keyId)) {
      return failing(
        name,
        `${stored}, and CREDENTIALS_KEYS does not have it`,
        'add the key to CREDENTIALS_KEYS',
      );
    }
    if (closed === 0) return ok(name, `opens the ${stored}`);
    const says = `does not open ${closed} of the ${stored}: its bytes or the rows were changed`;
    return failing(name, says, 'restore the key’s bytes, or calico-sync customers add <id> with new tokens');
  });
}

export async function checkCalico({ calico }: Config<'calico'>, now: () => number): Promise<Check[]> {
  const { CALICO_API_URL: apiUrl, CALICO_AUTH_URL: authUrl, CALICO_TIMEOUT_MS: timeoutMs } = calico;
  const [api, token] = await Promise.all(
    [probeUrl(apiUrl), authUrl].map((url) => probe(url, timeoutMs, now)),
  );
  return [
    ...answering('Calico’s API', 'CALICO_API_URL', api),
    ...answering('token endpoint', 'CALICO_AUTH_URL', token),
    ...(api && 'aheadMs' in api && api.aheadMs !== null ? [clock('clock of Calico', api.aheadMs)] : []),
  ];
}

/** Without a token a refusal is the best of answers. */
function answering(name: string, setting: string, probed: Probed | undefined): Check[] {
  if (!probed) return [];
  const elsewhere = `check ${setting}, DNS, TLS and the way there from this machine`;
  if ('problem' in probed) return [failing(name, `cannot be reached: ${plain(probed.problem)}`, elsewhere)];
  const { status } = probed;
  if (status >= 500) return [warning(name, `answers ${status}`, 'nothing; look again in a while')];
  const isMoved = status >= 300 && status < 400;
  if (isMoved || (status === 404 && setting === 'CALICO_API_URL')) {
    return [failing(name, `answers ${status}: this is not where it is`, `check ${setting}`)];
  }
  return [ok(name, `answers (${status} without a token)`)];
}

export async function checkCustomers(db: Database): Promise<Check[]> {
  const found = await db.run(countByStatus);
  if (found.length === 0) return [warning('customers', 'none yet', 'calico-sync customers add <id>')];
  const says = found.map(({ status, customers }) => `${customers} ${status}`).join(', ');
  const stopped = found.find(({ status }) => status !== 'active' && status !== 'paused');
  return [
    stopped
      ? warning('customers', says, `calico-sync customers list --status ${stopped.status}`)
      : ok('customers', says),
  ];
}

/** What lies there and what nobody works on. */
export function checkOverview(overview: Overview, nowMs: number): Check[] {
  const { overdue, overdueSince, leased, openDeadLetters, quarantined, heldRemovals, fleetPause } = overview;
  const late = `${count(overdue, 'customer')} overdue, the first was due ${formatTime(overdueSince, nowMs)}`;
  const schedule =
    overdue === 0
      ? ok('schedule', `nobody is overdue; ${count(leased, 'customer')} being synced now`)
      : leased === 0
        ? failing('schedule', `${late}, and no worker is at anyone`, 'start calico-sync worker')
        : warning('schedule', late, 'more workers, or a larger WORKER_CONCURRENCY');
  return [
    schedule,
    fleetPause === null ? ok('pause', 'no worker waits for Calico') : paused(fleetPause, nowMs),
    openDeadLetters === 0
      ? ok('dead letters', 'none open')
      : warning('dead letters', `${openDeadLetters} open`, 'calico-sync dead-letters list'),
    quarantined === 0
      ? ok('quarantine', 'empty')
      : warning('quarantine', count(quarantined, 'record'), 'calico-sync quarantine list'),
    heldRemovals === 0
      ? ok('held removals', 'none')
      : warning('held removals', `${count(heldRemovals, 'hold')} to decide on`, 'calico-sync removals list'),
  ];
}

function paused({ since, until, reason }: NonNullable<Overview['fleetPause']>, nowMs: number): Check {
  const end =
    until.getTime() > nowMs
      ? `one customer asks again ${formatTime(until, nowMs)}`
      : 'one customer asks whether it is over';
  return warning(
    'pause',
    `all workers wait for Calico since ${formatTime(since, nowMs)}: ${plain(reason)}; ${end}`,
    'nothing; it ends by itself once Calico answers',
  );
}

export function checkDrift(drift: readonly KnownDrift[]): Check {
  if (drift.length === 0) return ok('contract', 'no answer has differed from it');
  const breaking = drift.filter(({ kind }) => kind === 'type_changed' || kind === 'missing_field').length;
  const says = `${count(drift.length, 'difference')} found so far${breaking > 0 ? `, ${breaking} of which can refuse records` : ''}`;
  return warning('contract', says, 'calico-sync doctor --live <id> names the lines to change');
}

/** What was there, in a line under a difference. */
export function driftRemark({
  kind,
  detail,
  sample,
}: Pick<KnownDrift, 'detail' | 'sample'> & { kind: string }) {
  return [kind === 'type_changed' ? detail : '', sample].filter(Boolean).join(', such as ') || null;
}
