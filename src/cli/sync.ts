/** `sync`: makes customers due now, and follows them. */
import { openQueue } from '../app.ts';
import type { Database } from '../db/client.ts';
import { findCustomer, requestSync } from '../db/customers.ts';
import { type RunResult, readClock, readResults } from '../db/run-progress.ts';
import { readReceipts } from '../db/runs.ts';
import { unknownCustomer } from './customers.ts';
import { failure } from './explain.ts';
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
    const since = await db.run(readClock);
    const ids = customerId === null ? null : [customerId];
    const requested = await db.run((orm) => requestSync(orm, ids, full ? 'full' : 'incremental', 'manual'));
    if (requested.length === 0) throw await whyNobody(db, customerId);
    await enqueue(config, requested);
    say(`Asked for ${full ? 'a full sync' : 'a sync'} of ${whom(customerId, requested)}.`);
    if (!wait) return;
    const customerIds = customerId === null ? requested : ids;
    await followRuns(db, { customerIds, since });
    await sayResults(db, await db.run((orm) => readResults(orm, customerIds, since)));
  });
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
      `${plain(reason)} The request is in Postgres: a worker takes it up within seconds of the queue's return.`,
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
  for (const { customerId, status, reason } of [...bad, ...by('partial')].slice(0, 20)) {
    say(
      `  ${plain(customerId)}: ${status ?? 'stopped before it began'}${reason ? `: ${plain(reason)}` : ''}`,
    );
  }
  say(`${by('succeeded').length} succeeded, ${by('partial').length} partial, ${bad.length} failed.`);
  if (bad.length > 0) {
    const [first] = bad;
    throw failure(
      `${count(bad.length, 'sync')} did not succeed. Next: calico-sync runs ${shellWord(first?.customerId ?? '')}`,
    );
  }
}
