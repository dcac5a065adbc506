/** Where Calico's answers were not what src/calico/contract.ts says. */
import { bigint, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { calico } from './schema.ts';
import { instant } from './schema-sync.ts';

/**
 * One row a difference, however often it is seen: `count` times so far, first by `first_run_id`. `path`: keys by dots,
 * array elements as `[]`; `detail`: the new value, or the types; `sample`: what was there the first time, shortened.
 */
export const contractDrift = calico.table(
  'contract_drift',
  {
    endpoint: text('endpoint').notNull(),
    path: text('path').notNull(),
    kind: text('kind').notNull(),
    detail: text('detail').notNull().default(''),
    sample: text('sample'),
    count: bigint('count', { mode: 'number' }).notNull(),
    firstSeenAt: instant('first_seen_at').notNull().defaultNow(),
    lastSeenAt: instant('last_seen_at').notNull().defaultNow(),
    firstRunId: uuid('first_run_id').notNull(),
  },
  (t) => [primaryKey({ columns: [t.endpoint, t.path, t.kind, t.detail] })],
);
