/**
 * Holds Postgres against what Calico had, after each turn of a worker and at the end of a seed. It knows the promises and
 * nothing of how they are kept: what a green run claims, what may be marked removed, that no row ever gets older.
 */
import type pg from 'pg';
import { DAY_MS } from '../records.ts';
import { type Calico, type Item, rowOf, versionOf } from './calico.ts';

/** Every row of a customer with its content as text. Prepared, for it is asked after each turn. */
const ROWS = `
SELECT 'transactions' AS stream, transaction_id AS id, removed_at IS NOT NULL AS removed,
  concat_ws(' ', kind, provider_id, account_id, (extract(epoch FROM occurred_at) * 1000)::bigint,
    coalesce(input_asset_symbol || ' ' || input_amount, '-'), coalesce(output_asset_symbol || ' ' || output_amount, '-'),
    description, transaction_hash) || ' ' || coalesce((SELECT string_agg(asset_symbol || ' ' || amount, ',' ORDER BY position)
      FROM calico.transaction_fees f WHERE (f.customer_id, f.provider_id, f.transaction_id)
        = (t.customer_id, t.provider_id, t.transaction_id) AND (f.removed_at IS NULL) = (t.removed_at IS NULL)), '') AS content
FROM calico.transactions t WHERE customer_id = $1
UNION ALL SELECT 'assets', asset_symbol, removed_at IS NOT NULL, concat_ws(' ', provider_id, account_id, network, quantity)
  || CASE WHEN (SELECT string_agg(quantity::text, ' and ') FROM calico.asset_position_history h
      WHERE (h.customer_id, h.provider_id, h.asset_symbol) = (p.customer_id, p.provider_id, p.asset_symbol)
        AND valid_to IS NULL) IS NOT DISTINCT FROM CASE WHEN removed_at IS NULL THEN quantity::text END
    THEN '' ELSE ', and its history differs' END
FROM calico.asset_positions p WHERE customer_id = $1`;
/** What became of its runs and what they left for a person. */
const RUNS = `
SELECT run_id::text AS id, status, mode, reason, NULL AS cause FROM calico.sync_runs WHERE customer_id = $1
UNION ALL SELECT id::text, NULL, NULL, reason, cause FROM calico.dead_letters WHERE customer_id = $1`;

type Row = { stream: Item['stream']; id: string; content: string; removed: boolean };
type Run = { id: string; status: string; mode: 'full' | 'incremental'; reason: string | null };
type Letter = { id: string; cause: string; reason: string };

/** How far an incremental pass looks back. */
export const OVERLAP_MS = 3 * DAY_MS;

/** What the oracle was told of a customer and what it has seen. */
type Known = {
  /** Turns under way, by the step at which they began. */
  turns: Set<number>;
  /** The step since which the pages of the run under way may have been read; null between runs. */
  readSince: number | null;
  versions: Map<string, number>;
  removed: Set<string>;
  ended: Set<string>;
  letters: Set<string>;
  /** Was a run of its green already? */
  wasGreen: boolean;
  latestMs: number;
};

export type Oracle = {
  turnBegins(customerId: string, step: number): void;
  /** Looks at the customer when one of its turns is over. Gives what is wrong, a line each. */
  turnEnds(customerId: string, began: number): Promise<string[]>;
  /** What went wrong on purpose; explains dead letters that say so. */
  explain(customerId: string, cause: string): void;
  /** Now that all is well and everybody was synced: is every row as Calico has it? */
  atTheEnd(): Promise<string[]>;
  /** Runs that ended, by status. */
  tally: Record<string, number>;
};

const ENDED = ['succeeded', 'partial', 'failed', 'dead_lettered'];

/** An oracle of these customers, who have nothing in Postgres yet. */
export function createOracle(pool: pg.Pool, calico: Calico): Oracle {
  const explained = new Map<string, Set<string>>();
  const tally: Record<string, number> = {};
  const customers = new Map<string, Known>();
  for (const customerId of calico.customerIds) {
    const empty = { versions: new Map(), removed: new Set<string>(), ended: new Set<string>() };
    customers.set(customerId, {
      ...empty,
      ...{ turns: new Set(), readSince: null, letters: new Set(), wasGreen: false, latestMs: 0 },
    });
  }
  const knownOf = (customerId: string): Known => {
    const known = customers.get(customerId);
    if (!known) throw new Error(`the oracle knows no ${customerId}`);
    return known;
  };

  async function look(customerId: string) {
    const { rows } = await pool.query<Row>({ name: 'rows', text: ROWS, values: [customerId] });
    const found = await pool.query<Run | Letter>({ name: 'runs', text: RUNS, values: [customerId] });
    const runs = found.rows.filter((row): row is Run => 'status' in row && row.status !== null);
    const letters = found.rows.filter((row): row is Letter => 'cause' in row && row.cause !== null);
    return { rows, runs, letters };
  }

  /** Two homes, and content older than what was there before. */
  function rowFaults(known: Known, rows: readonly Row[]): string[] {
    const seen = new Set<string>();
    return rows.flatMap(({ stream, id, content }) => {
      const key = `${stream} ${id}`;
      const faults = seen.has(key) ? [`twice: ${key}`] : [];
      seen.add(key);
      const version = versionOf(content);
      const before = known.versions.get(key) ?? 0;
      if (version < before) faults.push(`stale overwrite: ${key} was version ${before} and is ${version}`);
      known.versions.set(key, version);
      return faults;
    });
  }

  /** A row that was just marked removed although Calico had it all the time that anybody looked. */
  function removalFaults(known: Known, items: readonly Item[], rows: readonly Row[]): string[] {
    const removed = new Set(rows.filter((row) => row.removed).map(({ stream, id }) => `${stream} ${id}`));
    const faults = items
      .filter((item) => couldBeMet(item, known.readSince ?? 0))
      .map(({ stream, id }) => `${stream} ${id}`)
      .filter((key) => removed.has(key) && !known.removed.has(key));
    known.removed = removed;
    return faults.map((key) => `false removal: ${key}`);
  }

  /** What a green run must have brought: every record that stood still while its pages were read. */
  function greenFaults(known: Known, customerId: string, run: Run, rows: readonly Row[]): string[] {
    if (run.status !== 'succeeded') return [];
    const byKey = new Map(rows.map((row) => [`${row.stream} ${row.id}`, row]));
    const since = known.readSince ?? 0;
    const wasRead = ({ stream, timeMs }: Item) =>
      stream === 'assets' || run.mode === 'full' || timeMs >= known.latestMs - OVERLAP_MS;
    const still = calico.itemsOf(customerId).filter((item) => item.changedAt < since && wasRead(item));
    return still.flatMap((item) => {
      const row = byKey.get(`${item.stream} ${item.id}`);
      const is = row ? `${row.removed ? 'removed, ' : ''}${row.content}` : 'no row';
      if (item.state === 'malformed') return [`false green: ${item.id} cannot be read`];
      return item.state === 'gone' || is === rowOf(item)
        ? []
        : [`false green: ${item.id} is ${is}, not ${rowOf(item)}`];
    });
  }

  /** What the first green run that read everything must have brought besides: whatever Calico had all the while, wherever it went meanwhile. */
  function missedFaults(known: Known, items: readonly Item[], run: Run, rows: readonly Row[]): string[] {
    if (run.status !== 'succeeded' || run.mode !== 'full' || known.wasGreen) return [];
    known.wasGreen = true;
    const live = new Set(rows.filter(({ removed }) => !removed).map(({ stream, id }) => `${stream} ${id}`));
    return items
      .filter((item) => couldBeMet(item, known.readSince ?? 0))
      .filter(({ stream, id }) => !live.has(`${stream} ${id}`))
      .map(({ stream, id }) => `false green: ${stream} ${id} was there and was missed`);
  }

  function letterFaults(known: Known, customerId: string, letters: readonly Letter[]): string[] {
    const causes = explained.get(customerId);
    return letters.flatMap(({ id, cause, reason }) => {
      if (known.letters.has(id)) return [];
      known.letters.add(id);
      const isExplained = [...(causes ?? [])].some((one) => cause.startsWith(one));
      return isExplained ? [] : [`unexplained dead letter: ${cause}: ${reason}`];
    });
  }

  return {
    tally,
    turnBegins: (customerId, step) => {
      const known = knownOf(customerId);
      known.turns.add(step);
      known.readSince ??= step;
      for (const { timeMs } of calico.itemsOf(customerId)) known.latestMs = Math.max(known.latestMs, timeMs);
    },
    turnEnds: async (customerId, began) => {
      const known = knownOf(customerId);
      const items = calico.itemsOf(customerId);
      for (const { timeMs } of items) known.latestMs = Math.max(known.latestMs, timeMs);
      const { rows, runs, letters } = await look(customerId);
      const faults = [
        ...rowFaults(known, rows),
        ...removalFaults(known, items, rows),
        ...letterFaults(known, customerId, letters),
      ];
      known.turns.delete(began);
      // Nothing here is a defect of Calico's or of Postgres', which is never killed.
      const defects = runs.filter(({ reason }) =>
        /calico-sync itself failed|does not follow what is there/.test(reason ?? ''),
      );
      faults.push(...defects.map(({ reason }) => `a defect: ${reason}`));
      for (const run of runs.filter(({ id, status }) => ENDED.includes(status) && !known.ended.has(id))) {
        known.ended.add(run.id);
        tally[run.status] = (tally[run.status] ?? 0) + 1;
        if (run.status === 'failed') faults.push(`a receipt that does not hold: ${run.reason}`);
        faults.push(...greenFaults(known, customerId, run, rows));
        faults.push(...missedFaults(known, items, run, rows));
        const isWhole = run.status === 'succeeded' || run.status === 'partial';
        if (isWhole) known.readSince = known.turns.size > 0 ? Math.min(...known.turns) : null;
      }
      return faults.map((fault) => `${customerId}: ${fault}`);
    },
    explain: (customerId, cause) => {
      explained.set(customerId, (explained.get(customerId) ?? new Set()).add(cause));
    },
    atTheEnd: async () => {
      const faults: string[] = [];
      for (const customerId of calico.customerIds) {
        const { rows } = await look(customerId);
        const items = calico.itemsOf(customerId);
        const is = rows.filter(({ removed }) => !removed);
        faults.push(...compare(items, is).map((fault) => `${customerId}: ${fault}`));
      }
      faults.push(...(await restFaults(pool, calico)));
      return faults;
    },
  };
}

/**
 * Was it there all the while, in a way that two walks cannot both miss? One that changes its place again and again while they
 * walk can be behind each of them every time (seed 247), and nothing that they see tells.
 */
function couldBeMet({ state, thereSince, moves }: Item, since: number): boolean {
  return state !== 'gone' && thereSince < since && moves.filter((step) => step >= since).length < 2;
}

/** Every live row has its record and every record its row; where one cannot be read, nothing of its stream may be removed. */
function compare(items: readonly Item[], live: readonly Row[]): string[] {
  const rows = new Map(live.map((row) => [`${row.stream} ${row.id}`, row.content]));
  const doubted = new Set(items.filter(({ state }) => state === 'malformed').map(({ stream }) => stream));
  return items.flatMap((item) => {
    const is = rows.get(`${item.stream} ${item.id}`);
    if (item.state === 'there' && is !== rowOf(item))
      return [`lost: ${item.id} is ${is}, not ${rowOf(item)}`];
    return item.state === 'gone' && is !== undefined && !doubted.has(item.stream)
      ? [`too much: ${item.id} is gone`]
      : [];
  });
}

/** What nobody at rest may show. */
async function restFaults(pool: pg.Pool, calico: Calico): Promise<string[]> {
  const malformed = calico.customerIds.flatMap((customerId) =>
    calico
      .itemsOf(customerId)
      .filter(({ state }) => state === 'malformed')
      .map(({ stream, id }) => `${customerId} ${stream} ${id}`),
  );
  const { rows } = await pool.query<{ fault: string }>({
    name: 'at_rest',
    text: `SELECT concat_ws(' ', 'stuck:', customer_id, 'is', status, status_reason, 'leased until', lease_until, 'due', next_sync_at) AS fault
       FROM calico.customers WHERE status <> 'active' OR lease_until IS NOT NULL OR next_sync_at <= now()
         OR next_sync_at > now() + interval '2 hours' OR not_before > now()
     UNION ALL SELECT concat_ws(' ', 'a run is left', status, 'of', customer_id) FROM calico.sync_runs
       WHERE status IN ('running', 'waiting') OR finished_at IS NULL OR finished_at < started_at
     UNION ALL SELECT 'a receipt does not balance: ' || customer_id FROM calico.sync_runs
       JOIN calico.sync_run_streams USING (run_id) WHERE NOT balanced
     UNION ALL SELECT 'green without two whole receipts: ' || customer_id FROM calico.sync_runs r WHERE status = 'succeeded'
       AND 2 <> (SELECT count(*) FROM calico.sync_run_streams s WHERE s.run_id = r.run_id AND complete AND balanced)
     UNION ALL SELECT concat_ws(' ', 'green although quarantined:', customer_id) FROM calico.sync_runs
       JOIN calico.sync_run_streams USING (run_id) WHERE status = 'succeeded' AND quarantined + held > 0
     UNION ALL SELECT 'a state ends before it begins: ' || customer_id FROM calico.asset_position_history WHERE valid_to <= valid_from
     UNION ALL SELECT 'a page belongs to no pass' FROM calico.sync_pages p
       WHERE NOT EXISTS (SELECT FROM calico.checkpoints c WHERE c.pass_run_id = p.pass_run_id AND c.stream = p.stream)
     UNION ALL SELECT 'held for a person: ' || reason FROM calico.held_removals WHERE superseded_at IS NULL
     UNION ALL SELECT concat_ws(' ', 'a dead letter is open:', customer_id, cause) FROM calico.dead_letters WHERE resolved_at IS NULL
     UNION ALL SELECT concat_ws(' ', 'a provider is still down:', customer_id, provider_id) FROM calico.provider_status WHERE state <> 'ok'
     UNION ALL SELECT 'all still wait' FROM calico.fleet_pause WHERE opened_at IS NULL
     UNION ALL SELECT concat_ws(' ', 'quarantined:', customer_id, stream, record_key) FROM calico.quarantined_records q
       WHERE resolved_at IS NULL AND NOT EXISTS (SELECT FROM unnest($1::text[]) AS m (text)
         WHERE m.text LIKE customer_id || ' ' || stream || ' %' AND record_key LIKE '%"' || split_part(m.text, ' ', 3) || '"%')
     UNION ALL SELECT 'not quarantined: ' || m.text FROM unnest($1::text[]) AS m (text)
       WHERE NOT EXISTS (SELECT FROM calico.quarantined_records WHERE resolved_at IS NULL
         AND m.text LIKE customer_id || ' ' || stream || ' %' AND record_key LIKE '%"' || split_part(m.text, ' ', 3) || '"%')`,
    values: [malformed],
  });
  return rows.map(({ fault }) => fault);
}
