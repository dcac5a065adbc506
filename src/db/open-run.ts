/** Which run a turn is for: the customer's open one, or a new one of the mode that was asked for or is due. */
import { and, eq, inArray, sql } from 'drizzle-orm';
import { built } from './built.ts';
import { isUnderWay, readCheckpoint } from './checkpoints.ts';
import type { Orm } from './client.ts';
import type { Lease } from './leases.ts';
import { isRun, type Run } from './runs.ts';
import { customers, type RunMode, syncRuns } from './schema-sync.ts';
import { takeOverStreams } from './takeover.ts';

const isOpen = inArray(syncRuns.status, ['running', 'waiting']);

/**
 * The run that this lease is for: the one that was put off, or a new one. A run that another worker left `running`
 * becomes `abandoned`; its pass goes on at the checkpoint in a run of its own, which takes over what it had read (takeover.ts).
 * A new run is full where one was asked for, none was done within the full interval, a full pass is under way, or the
 * run that was killed or fenced was full: it may have ended before its pass began, and the request went with it.
 */
export async function openRun(
  orm: Orm,
  lease: Lease,
  { fullSyncIntervalMs, syncIntervalMs }: { fullSyncIntervalMs: number; syncIntervalMs: number },
): Promise<Run> {
  const { customerId } = lease;
  // All that is to be known, in one round trip.
  const [[open], asked, checkpoint] = await Promise.all([
    selectOpen(orm, { customerId }),
    readRequest(orm, customerId, fullSyncIntervalMs),
    readCheckpoint(orm, customerId, 'transactions'),
  ]);
  if (open?.status === 'waiting') {
    const [run] = await orm
      .update(syncRuns)
      .set({ status: 'running', epoch: lease.epoch })
      .where(isRun(open))
      .returning();
    return one(run);
  }
  if (open) {
    const reason = 'its worker ended without a word; the next run goes on at its checkpoint';
    await orm
      .update(syncRuns)
      .set({ status: 'abandoned', finishedAt: sql`now()`, reason })
      .where(isRun(open));
  }
  const fullUnderWay = isUnderWay(checkpoint) && checkpoint.passMode === 'full';
  const wasFull = open?.mode === 'full' || asked?.fullWasFenced;
  const mustBeFull = asked?.mode === 'full' || asked?.fullIsDue || fullUnderWay || wasFull;
  const mode: RunMode = mustBeFull ? 'full' : 'incremental';
  const trigger = asked?.trigger ?? (asked?.followUps ? 'follow_up' : 'schedule');
  const [[run]] = await Promise.all([
    insertRun(orm, { mode, trigger, customerId, epoch: lease.epoch }),
    clearRequest(orm, { customerId }),
  ]);
  // Whoever asked since that run began wants what there is now, not what it had read before.
  return open && !asked?.trigger ? takeOverStreams(orm, one(run), open, syncIntervalMs) : one(run);
}

const ofCustomer = sql.placeholder('customerId');
const selectOpen = built('read_open_run', (orm) =>
  orm
    .select()
    .from(syncRuns)
    .where(and(eq(syncRuns.customerId, ofCustomer), isOpen)),
);
const insertRun = built('open_run', (orm) =>
  orm
    .insert(syncRuns)
    .values({
      mode: sql.placeholder('mode'),
      trigger: sql.placeholder('trigger'),
      customerId: ofCustomer,
      epoch: sql.placeholder('epoch'),
    })
    .returning(),
);
const clearRequest = built('clear_request', (orm) =>
  orm
    .update(customers)
    .set({ requestedMode: null, requestedTrigger: null })
    .where(eq(customers.customerId, ofCustomer)),
);

/** What was asked of the customer's next run, and what its schedule says. */
async function readRequest(orm: Orm, customerId: string, fullEveryMs: number) {
  const [row] = await selectRequest(orm, { customerId, seconds: fullEveryMs / 1000 });
  return row;
}

const selectRequest = built('read_request', (orm) => {
  const { requestedMode: mode, requestedTrigger: trigger, followUps, lastFullAt } = customers;
  const earliest = sql`now() - make_interval(secs => ${sql.placeholder('seconds')}::float8)`;
  const fullIsDue = sql<boolean>`coalesce(${lastFullAt} <= ${earliest}, true)`;
  // A worker that slept through its lease has closed its run itself; what was asked of it was not done.
  const fullWasFenced = sql<
    boolean | null
  >`(SELECT r.mode = 'full' AND r.status = 'fenced' FROM calico.sync_runs r
    WHERE r.customer_id = ${ofCustomer} ORDER BY r.started_at DESC LIMIT 1)`;
  return orm
    .select({ mode, trigger, followUps, fullIsDue, fullWasFenced })
    .from(customers)
    .where(eq(customers.customerId, ofCustomer));
});

function one(run: Run | undefined): Run {
  if (!run) throw new Error('the run that was just written is not there');
  return run;
}
