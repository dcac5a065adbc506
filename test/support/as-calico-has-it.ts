/** The oracle of every long test: Postgres holds what Calico has, and nothing else. */
import { everyRecordOf, type SandboxData } from '../../src/sandbox/data.ts';
import type { World } from './world.ts';

/** Records that Calico has and Postgres has not, under the kind that they name, and the other way round; a line each. */
export async function differencesFromCalico(
  { rows }: Pick<World, 'rows'>,
  data: SandboxData,
  ids: readonly string[],
): Promise<string[]> {
  const streams = ['assets', 'transactions'] as const;
  const there = ids.flatMap((id) =>
    streams.flatMap((stream) => [...everyRecordOf(data, stream, id)].map((text) => ({ id, text }))),
  );
  const found = await rows<{ what: string }>(
    `WITH there AS (
       SELECT id, coalesce(record ->> 'kind', 'position') AS kind, record
       FROM unnest($1::text[], $2::jsonb[]) AS t (id, record)),
     here AS (
       SELECT customer_id, kind, raw FROM calico.transactions WHERE removed_at IS NULL
       UNION ALL SELECT customer_id, 'position', raw FROM calico.asset_positions WHERE removed_at IS NULL)
     SELECT 'lost: ' || row(t.*)::text AS what FROM (TABLE there EXCEPT ALL TABLE here) t
     UNION ALL SELECT 'too much: ' || row(t.*)::text FROM (TABLE here EXCEPT ALL TABLE there) t`,
    [there.map(({ id }) => id), there.map(({ text }) => text)],
  );
  return found.map(({ what }) => what);
}
