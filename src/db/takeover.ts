/**
 * What a run takes over from those before it whose work it carries on. It answers for all of it: without their losses it
 * would be greener than what it stands for.
 */
import { eq, sql } from 'drizzle-orm';
import type { Pass } from './checkpoints.ts';
import type { Orm } from './client.ts';
import { syncRuns } from './schema-sync.ts';

type Run = typeof syncRuns.$inferSelect;

/**
 * The streams that a killed run had read to the end count for its successor, with what was set aside of them and who was
 * missing; unless they are from an interval ago, when they would stand for now. Returns the successor as it is then.
 */
export async function takeOverStreams(orm: Orm, run: Run, killed: Run, syncIntervalMs: number): Promise<Run> {
  if (killed.mode !== run.mode) return run;
  const { rowCount } = await orm.execute(sql`INSERT INTO calico.sync_run_streams
      (run_id, stream, fetched, quarantined, complete, moving, inherited_from, removal_note)
    SELECT ${run.runId}::uuid, stream, quarantined, quarantined, true, moving, coalesce(inherited_from, run_id), removal_note
    FROM calico.sync_run_streams
    WHERE run_id = ${killed.runId}::uuid AND complete AND balanced AND held = 0
      AND ${killed.startedAt.toISOString()}::timestamptz > now() - make_interval(secs => ${syncIntervalMs / 1000})`);
  if (!rowCount || killed.providersDown.length === 0) return run;
  const { providersDown } = killed;
  await orm.update(syncRuns).set({ providersDown }).where(eq(syncRuns.runId, run.runId));
  return { ...run, providersDown };
}

/**
 * Puts what the pages of another run's pass have set aside into this run's receipt, once, and returns who was missing from
 * them. The latest run that read some of the pass knows both, for it took over from those before it.
 */
export async function takeOverPass(orm: Orm, run: Pick<Run, 'runId'>, pass: Pass): Promise<string[]> {
  const { rows } = await orm.execute<{ quarantined: number; down: string[] }>(sql`
    SELECT s.quarantined, r.providers_down AS down
    FROM calico.sync_runs r JOIN calico.sync_run_streams s USING (run_id)
    WHERE r.customer_id = ${pass.customerId} AND s.stream = ${pass.stream} AND r.run_id <> ${run.runId}::uuid
      AND r.started_at >= (SELECT started_at FROM calico.sync_runs WHERE run_id = ${pass.passRunId}::uuid)
    ORDER BY r.started_at DESC LIMIT 1`);
  const [before] = rows;
  if (!before) return [];
  await orm.execute(sql`INSERT INTO calico.sync_run_streams (run_id, stream, fetched, quarantined)
    SELECT ${run.runId}::uuid, ${pass.stream}, ${before.quarantined}::int, ${before.quarantined}::int
    WHERE ${before.quarantined}::int > 0 ON CONFLICT DO NOTHING`);
  return before.down;
}
