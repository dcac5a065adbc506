/**
 * The pause of the whole fleet, in Postgres and by its clock: every process sees the same one, whatever queue it has.
 * It begins with an answer that told us to wait, and ends when a probe has been answered (schema-fleet.ts).
 */
import { and, eq, isNull, lte, type SQL, sql } from 'drizzle-orm';
import { built } from './built.ts';
import type { Orm } from './client.ts';
import { fleetPause } from './schema-fleet.ts';

const CLOCK = sql`clock_timestamp()`;
const inMs = (interval: SQL) => sql<number>`(extract(epoch FROM ${interval}) * 1000)::float8`;

/** A pause that begins this soon after the one before is the same trouble, and its waits go on growing. */
const SAME_TROUBLE = sql.raw(`interval '15 seconds'`);

export type FleetPause = {
  /** `429` or `503`, and what was answered, for a person. */
  situation: string;
  reason: string;
  /** How many answers said so. */
  refusals: number;
  since: Date;
  /** Nobody asks before it; from then on one customer does. */
  until: Date;
  /** Milliseconds from now to `until`, 0 where that is past, by the database's clock. */
  leftMs: number;
  /** Whose turn is asking right now whether it is over. */
  probe: string | null;
};

/** The pause that all workers keep; null while there is none. */
export async function readFleetPause(orm: Orm): Promise<FleetPause | null> {
  const [pause] = await selectPause(orm);
  return pause ?? null;
}

const selectPause = built('read_fleet_pause', (orm) => {
  const { situation, reason, refusals, since, until } = fleetPause;
  return orm
    .select({
      ...{ situation, reason, refusals, since, until },
      leftMs: inMs(sql`greatest(interval '0', ${until} - ${CLOCK})`),
      probe: sql<string | null>`(SELECT customer_id FROM calico.customers
        WHERE customer_id = ${fleetPause.probeCustomerId} AND epoch = ${fleetPause.probeEpoch} AND lease_until > ${CLOCK})`,
    })
    .from(fleetPause)
    .where(isNull(fleetPause.openedAt));
});

/** May nobody start at all? Else, in a pause, exactly one may. */
export function isClosed({ leftMs, probe }: FleetPause): boolean {
  return leftMs > 0 || probe !== null;
}

/**
 * Whether a turn may start, in the transaction that takes its lease. In `probe` the pause's row stays locked until
 * the transaction ends, and nobody else can be one; `nameProbe` makes it so.
 */
export async function enterFleet(orm: Orm): Promise<'open' | 'closed' | 'probe'> {
  const pause = await readFleetPause(orm);
  if (!pause) return 'open';
  if (isClosed(pause)) return 'closed';
  await orm.select({ locked: sql`1` }).from(fleetPause).for('update');
  // Asked again in a statement of its own: one that waited for the lock would judge the probe by what it saw before.
  const now = await readFleetPause(orm);
  if (!now) return 'open';
  return isClosed(now) ? 'closed' : 'probe';
}

export async function nameProbe(orm: Orm, customerId: string, epoch: bigint): Promise<void> {
  await orm.update(fleetPause).set({ probeCustomerId: customerId, probeEpoch: epoch });
}

/** How long the trouble has lasted, in milliseconds: what the next wait grows with. 0 where there was none until now. */
export async function readTroubleMs(orm: Orm): Promise<number> {
  const [row] = await orm
    .select({ ms: inMs(sql`${CLOCK} - ${fleetPause.since}`) })
    .from(fleetPause)
    .where(isSameTrouble);
  return row?.ms ?? 0;
}

const isSameTrouble = sql`(${fleetPause.openedAt} IS NULL OR ${fleetPause.openedAt} > ${CLOCK} - ${SAME_TROUBLE})`;

/** Pauses everybody for `delayMs` at least. A pause under way gets longer, never shorter. */
export async function pauseFleet(
  orm: Orm,
  { situation, reason, delayMs }: { situation: string; reason: string; delayMs: number },
): Promise<void> {
  const { since, until, refusals, openedAt } = fleetPause;
  const end = sql`${CLOCK} + make_interval(secs => ${delayMs / 1000})`;
  await orm
    .insert(fleetPause)
    .values({ situation, reason, since: CLOCK, until: end })
    .onConflictDoUpdate({
      target: fleetPause.onlyRow,
      set: {
        situation,
        reason,
        since: sql`CASE WHEN ${isSameTrouble} THEN ${since} ELSE ${CLOCK} END`,
        refusals: sql`CASE WHEN ${isSameTrouble} THEN ${refusals} + 1 ELSE 1 END`,
        until: sql`CASE WHEN ${openedAt} IS NULL THEN greatest(${until}, ${end}) ELSE ${end} END`,
        openedAt: null,
      },
    });
}

/** Ends the pause on its probe's word; false where that is not the probe any more, or was told to wait longer since. */
export async function openFleet(orm: Orm, customerId: string, epoch: bigint): Promise<boolean> {
  const { rowCount } = await orm
    .update(fleetPause)
    .set({ openedAt: CLOCK })
    .where(
      and(
        isNull(fleetPause.openedAt),
        eq(fleetPause.probeCustomerId, customerId),
        eq(fleetPause.probeEpoch, epoch),
        lte(fleetPause.until, CLOCK),
      ),
    );
  return rowCount === 1;
}
