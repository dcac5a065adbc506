/** `sync`: makes customers due now, and follows them. */
import { openQueue } from '../app.ts';
import type { Database } from '../db/client.ts';
import { countByStatus, findCustomer, requestSync } from '../db/customers.ts';
import { type RunResult, readResults } from '../db/run-progress.ts';
import { readReceipts } from '../db/runs.ts';
import { unknownCustomer } from './customers.ts';
import { failure, sentence } from './explain.ts';
import { count, shellWord } from './format.ts';
import { note, plain, say } from './output.ts';
import { followRuns } from './progress.ts';
import { receiptLine } from './runs.ts';
import { commandLog, settings, withDatabase } from './session.ts';

type Options = { full?: boolean; wait?: boolean };

/**
 * Writes the request to Postgres, then tells the queue; without the queue the tick takes it up within seconds.
 * `customerId` null: every active customer. With `wait` it fails where a run did.
 */
export async function requestAndFollow(
  customerId: string | null,
  { full = false, wait = false }: Options,
): Promise<void> {
  const config = settings('database', 'queue');
  await withDatabase(config, async (db) => {
    const ids = customerId === null ? null : [customerId];
    const requested = await db.run((orm) => requestSync(orm, ids, full ? 'full' : 'incremental', 'manual'));
    if (requested.length === 0) throw await whyNobody(db, customerId);
    await enqueue(config, requested);
    say(`Asked for ${full ? 'a full sync' : 'a sync'} of ${whom(customerId, requested)}.`);
    if (customerId === null) await sayWhoIsLeftOut(db);
    if (!wait) return;
    const asked = { customerIds: requested, since: null };
    await followRuns(db, asked);
    await sayResults(db, await db.run((orm) => readResults(orm, asked)));
  });
}

async function sayWhoIsLeftOut(db: Database): Promise<void> {
  const stopped = (await db.run(countByStatus)).filter(({ status }) => status !== 'active');
  const [first] = stopped;
  if (!first) return;
  const kinds = stopped.map(({ status, customers }) => `${customers} ${status}`).join(', ');
  note(`Left out: ${kinds}. Next: calico-sync customers list --status ${first.status}`);
}

function whom(customerId: string | null, requested: readonly string[]): string {
  return customerId === null ? count(requested.length, 'customer') : plain(customerId);
}

async function enqueue(config: Parameters<typeof openQueue>[0], ids: readonly string[]): Promise<void> {
  try {
    const queue = await openQueue(config, commandLog);
    await queue.enqueueMany(ids).finally(() => queue.close());
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'the queue did not answer';
    note(
      `${sentence(reason)} The request is in Postgres: a worker takes it up within seconds of the queue's return.`,
    );
  }
}

async function whyNobody(db: Database, customerId: string | null): Promise<Error> {
  if (customerId === null)
    return failure('There is no active customer. calico-sync customers list shows all.');
  const customer = await db.run((orm) => findCustomer(orm, customerId));
  if (!customer) return unknownCustomer(customerId);
  const next =
    customer.status === 'paused'
      ? `resume ${shellWord(customerId)}`
      : `add ${shellWord(customerId)} with new tokens`;
  return failure(
    `${plain(customerId)} is ${customer.status} (${plain(customer.statusReason ?? 'no reason given')}). Next: calico-sync customers ${next}`,
  );
}

/** Failures one by one, up to a screenful; successes as a number, or their receipt where it is one. */
async function sayResults(db: Database, results: readonly RunResult[]): Promise<void> {
  const [only] = results;
  if (results.length === 1 && only?.runId) {
    const { runId } = only;
    for (const receipt of await db.run((orm) => readReceipts(orm, runId))) say(`  ${receiptLine(receipt)}`);
  }
  const by = (status: RunResult['status']) => results.filter((result) => result.status === status);
  const bad = results.filter(({ status }) => status !== 'succeeded' && status !== 'partial');
  for (const result of [...bad, ...by('partial')].slice(0, MOST_SHOWN)) say(`  ${describe(result)}`);
  say(`${by('succeeded').length} succeeded, ${by('partial').length} partial, ${bad.length} failed.`);
  const [first] = bad;
  if (first)
    throw failure(
      `${count(bad.length, 'sync')} did not succeed. Next: ${bad.length === 1 ? nextStep(first) : nextSteps(first)}`,
    );
}

const MOST_SHOWN = 20;

function describe({ customerId, status, reason }: RunResult): string {
  const outcome = status ?? 'stopped before its end';
  return `${plain(customerId)}: ${outcome}${reason ? `: ${plain(reason)}` : ''}`;
}

/** Several may have failed for several reasons. */
function nextSteps(first: RunResult): string {
  return first.nextStep === null
    ? nextStep(first)
    : 'calico-sync dead-letters list says what to do about each cause';
}

/** What the dead letter says, else where to look. */
function nextStep({ customerId, nextStep: told }: RunResult): string {
  const word = shellWord(customerId);
  return told ? plain(told.replaceAll('<id>', word)) : `calico-sync customers show ${word}`;
}
