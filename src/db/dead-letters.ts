/** What operators do with dead letters: read them by cause, make their customers due again, lay them aside. */
import { and, desc, eq, inArray, isNull, type SQL, sql } from 'drizzle-orm';
import type { Orm } from './client.ts';
import { requestSync } from './customers.ts';
import { announce } from './events.ts';
import { deadLetters } from './schema-aside.ts';
import { customers, type RunMode, syncRuns } from './schema-sync.ts';
import type { CustomerStatus } from './statuses.ts';

export type DeadLetter = typeof deadLetters.$inferSelect;
export type DeadLetterState = 'open' | 'replayed' | 'resolved' | 'discarded';

/** One letter by its id, or all open ones of a cause. */
export type Choice = { id: string } | { cause: string };

const isOpen = and(
  isNull(deadLetters.replayedAt),
  isNull(deadLetters.discardedAt),
  isNull(deadLetters.resolvedAt),
);
const isChosen = (choice: Choice): SQL | undefined =>
  'id' in choice
    ? and(eq(deadLetters.id, choice.id), isNull(deadLetters.discardedAt))
    : and(eq(deadLetters.cause, choice.cause), isOpen);

/** What became of one: a later run that came to its end outweighs that it was replayed. */
export function stateOf(
  letter: Pick<DeadLetter, 'discardedAt' | 'resolvedAt' | 'replayedAt'>,
): DeadLetterState {
  if (letter.discardedAt) return 'discarded';
  if (letter.resolvedAt) return 'resolved';
  return letter.replayedAt ? 'replayed' : 'open';
}

/** Letters of one cause. `sample`: some of the customers, at most five; `latestId`: the letter to look at. */
export type Cause = {
  cause: string;
  fault: string;
  letters: number;
  open: number;
  /** Of the open ones, those that a replay would set going. */
  replayable: number;
  customers: number;
  sample: string[];
  nextStep: string | null;
  latestId: string;
  firstAt: Date;
  latestAt: Date;
};

/** Causes, the most frequent first; of open letters, or of `all`. */
export async function listCauses(orm: Orm, all: boolean): Promise<Cause[]> {
  const isReplayable = sql`EXISTS (SELECT FROM calico.customers c
    WHERE c.customer_id = dead_letters.customer_id AND c.status = ANY (${sql.param([...REPLAYABLE])}::text[]))`;
  const latest = (what: SQL) => sql`(array_agg(${what} ORDER BY created_at DESC, id))[1]`;
  const { rows } = await orm.execute<
    Omit<Cause, 'firstAt' | 'latestAt'> & { firstAt: string; latestAt: string }
  >(sql`
    SELECT cause, ${latest(sql`fault`)} AS fault, count(*)::int AS letters,
      (count(*) FILTER (WHERE ${isOpen}))::int AS open,
      (count(*) FILTER (WHERE ${isOpen} AND ${isReplayable}))::int AS replayable, count(DISTINCT customer_id)::int AS customers,
      (array_agg(DISTINCT customer_id))[1:5] AS sample,
      ${latest(sql`evidence ->> 'nextStep'`)} AS "nextStep", ${latest(sql`id`)} AS "latestId",
      min(created_at) AS "firstAt", max(created_at) AS "latestAt"
    FROM calico.dead_letters WHERE ${all} OR ${isOpen}
    GROUP BY cause ORDER BY letters DESC, cause`);
  return rows.map((row) => ({ ...row, firstAt: new Date(row.firstAt), latestAt: new Date(row.latestAt) }));
}

/** Letters of a cause, the latest first; open ones, or `all`. */
export async function listLetters(orm: Orm, cause: string, all: boolean): Promise<DeadLetter[]> {
  return orm
    .select()
    .from(deadLetters)
    .where(and(eq(deadLetters.cause, cause), all ? undefined : isOpen))
    .orderBy(desc(deadLetters.createdAt), deadLetters.id);
}

export async function findDeadLetter(orm: Orm, id: string): Promise<DeadLetter | null> {
  const [row] = await orm.select().from(deadLetters).where(eq(deadLetters.id, id));
  return row ?? null;
}

/** A letter that an operator asks to replay. `status` null: the customer is gone, or the letter names none. */
export type Replay = { id: string; customerId: string; status: CustomerStatus | null; replayed: boolean };

/**
 * Statuses that a replay lifts: whether the obstacle is gone only Calico knows, and asking costs one request. Credentials
 * that Calico refused need new ones, and whoever paused a customer had a reason.
 */
const LIFTED: readonly CustomerStatus[] = ['forbidden', 'not_found', 'not_authorized'];
const REPLAYABLE: readonly CustomerStatus[] = ['active', ...LIFTED];

/**
 * Makes the letters' customers due now, active again where they were stopped, and marks the letters replayed. Their runs
 * go on at the checkpoint; one that was to be full is full again. `dryRun`: says what would happen.
 */
export async function replayDeadLetters(orm: Orm, choice: Choice, dryRun: boolean): Promise<Replay[]> {
  const chosen = await orm
    .select({
      id: deadLetters.id,
      customerId: deadLetters.customerId,
      status: customers.status,
      mode: syncRuns.mode,
    })
    .from(deadLetters)
    .leftJoin(customers, eq(customers.customerId, deadLetters.customerId))
    .leftJoin(syncRuns, eq(syncRuns.runId, deadLetters.runId))
    .where(isChosen(choice))
    .orderBy(deadLetters.createdAt, deadLetters.id);
  const replays = chosen.map((letter) => ({
    ...letter,
    replayed: letter.status !== null && REPLAYABLE.includes(letter.status),
  }));
  const going = replays.filter(({ replayed }) => replayed);
  if (dryRun || going.length === 0) return replays;

  for (let start = 0; start < going.length; start += CHUNK) {
    await makeDue(orm, going.slice(start, start + CHUNK));
  }
  return replays;
}

/** A statement takes 65,535 parameters. */
const CHUNK = 10_000;

async function makeDue(orm: Orm, letters: readonly (Replay & { mode: RunMode | null })[]): Promise<void> {
  const idsOf = (some: typeof letters) => [...new Set(some.map(({ customerId }) => customerId))];
  const lifted = await orm
    .update(customers)
    .set({ status: 'active', statusReason: null, notBefore: null })
    .where(and(inArray(customers.customerId, idsOf(letters)), inArray(customers.status, [...LIFTED])))
    .returning({ customerId: customers.customerId });
  const stopped = new Map(letters.map(({ customerId, status }) => [customerId, status]));
  const resumed = lifted.map(({ customerId }) => ({
    type: 'customer.resumed' as const,
    data: { customer_id: customerId, was: stopped.get(customerId) ?? 'active' },
  }));
  await announce(orm, ...resumed);
  await requestSync(orm, idsOf(letters), 'incremental', 'manual');
  await requestSync(orm, idsOf(letters.filter(({ mode }) => mode === 'full')), 'full', 'manual');
  const ids = letters.map(({ id }) => id);
  await orm.update(deadLetters).set({ replayedAt: sql`now()` }).where(inArray(deadLetters.id, ids));
}

/** Lays letters aside for good; their customers stay as they are. Returns how many; `dryRun`: how many it would be. */
export async function discardDeadLetters(orm: Orm, choice: Choice, dryRun: boolean): Promise<number> {
  if (dryRun) return orm.$count(deadLetters, isChosen(choice));
  const { rowCount } = await orm.update(deadLetters).set({ discardedAt: sql`now()` }).where(isChosen(choice));
  return rowCount ?? 0;
}
