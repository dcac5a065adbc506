/** What all workers together wait for (promise 10). */
import { sql } from 'drizzle-orm';
import { bigint, boolean, check, integer, text } from 'drizzle-orm/pg-core';
import { calico } from './schema.ts';
import { instant } from './schema-sync.ts';

/**
 * One row, or none: Calico told us to wait (429, 503) and every worker does, from `since` until a probe has found that
 * it is over (`opened_at`). Nobody asks before `until`; then one customer's turn does, the probe. It lives as long as its
 * lease, whose epoch it names: a worker that dies loses both. `refusals` counts the answers that told us to wait.
 */
export const fleetPause = calico.table(
  'fleet_pause',
  {
    onlyRow: boolean('only_row').primaryKey().default(true),
    situation: text('situation').notNull(),
    reason: text('reason').notNull(),
    refusals: integer('refusals').notNull().default(1),
    since: instant('since').notNull(),
    until: instant('until').notNull(),
    probeCustomerId: text('probe_customer_id'),
    probeEpoch: bigint('probe_epoch', { mode: 'bigint' }),
    openedAt: instant('opened_at'),
  },
  (t) => [check('fleet_pause_only_row', sql`${t.onlyRow}`)],
);
