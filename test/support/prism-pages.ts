/**
 * Calico as a stranger reads the contract: `prism mock --dynamic` answers with random data to the real sync. Tokens are the
 * sandbox's, since the contract has no token endpoint; Prism takes any.
 *
 * What Prism makes of the contract (5.16): a third of the pages say that more follows and not where, or hold nothing
 * although more follows; most others are the last; of the records every second is refused, for a negative amount or one
 * with millions of digits. So a run is three pages long and partial, and one in twenty ends in a dead letter.
 */
import { pino } from 'pino';
import { expect, onTestFinished } from 'vitest';
import { z } from 'zod';
import { type CalicoClient, createCalicoClient } from '../../src/calico/client.ts';
import type { StreamName } from '../../src/db/schema-sync.ts';
import type { Outcome } from '../../src/sync/outcome.ts';
import { runSync } from '../../src/sync/run-sync.ts';
import { startPrismMock } from './prism.ts';
import { createWorld, type World } from './world.ts';

const CUSTOMERS = ['alice', 'bob', 'carol', 'dave'];

/** Syncs so many pages of random data: what can be stored has landed, the rest is quarantined, and nothing broke. */
export async function syncRandomPages(count: number): Promise<void> {
  const prism = await startPrismMock();
  onTestFinished(prism.stop);
  const world = await createWorld();
  for (const customerId of CUSTOMERS) await world.addCustomer(customerId);

  const pages: CommittedPage[] = [];
  await Promise.all(
    CUSTOMERS.map((customerId) => syncUntilEnough(world, prism.url, customerId, { pages, count })),
  );

  // A run that carries on another's pass answers for what was set aside in it too: so the others are counted.
  const accepted = pages.reduce((sum, { records, quarantined }) => sum + records.length - quarantined, 0);
  const [receipts] = await world.rows<Receipts>(RECEIPTS);
  expect(receipts).toMatchObject({ pages: pages.length, accepted, unbalanced: 0 });
  expect(receipts?.landed).toBeGreaterThan(count / 10);
  expect(receipts?.quarantined).toBeGreaterThan(count / 10);
  for (const stream of ['assets', 'transactions'] as const) {
    expect(await lostRecords(world, stream, pages)).toEqual([]);
  }
  expect(await world.rows(`SELECT * FROM calico.dead_letters WHERE ${IS_OUR_FAULT}`)).toEqual([]);
}

type Receipts = { pages: number; accepted: number; landed: number; quarantined: number; unbalanced: number };
const RECEIPTS = `SELECT sum(pages)::int AS pages, sum(fetched - quarantined)::int AS accepted,
  sum(inserted + updated + unchanged)::int AS landed, sum(quarantined)::int AS quarantined,
  count(*) FILTER (WHERE NOT balanced)::int AS unbalanced FROM calico.sync_run_streams`;

const IS_OUR_FAULT = `fault <> 'calico' OR evidence->>'kind' NOT IN ('unreadable', 'endless')`;

/** What a committed page held; its records as JSON. */
type CommittedPage = { customerId: string; stream: StreamName; records: string[]; quarantined: number };

/** Syncs a customer, run after run, until all customers together have committed enough pages. */
async function syncUntilEnough(
  world: World,
  apiUrl: string,
  customerId: string,
  { pages, count }: { pages: CommittedPage[]; count: number },
): Promise<void> {
  const fetched: CommittedPage[] = [];
  const lines: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) });
  const client = recordingClient(world, apiUrl, (stream, records) =>
    fetched.push({ customerId, stream, records, quarantined: 0 }),
  );
  while (pages.length < count) {
    await world.makeDue(customerId);
    const outcome = await runSync({ ...world.deps, client, log }, customerId, new AbortController().signal);
    expectOutcome(outcome);
    expect(lines.filter(isUnexpected)).toEqual([]);

    const fates = lines.splice(0).flatMap((line) => fateLine.safeParse(JSON.parse(line)).data ?? []);
    const commits = fates.filter((fate) => 'fetched' in fate);
    for (const commit of commits) expect(commit).toSatisfy(isBalanced);
    // A page that leads in a circle is not committed: the pages start over. One that ends its turn has no fate.
    const turn = fetched.splice(0);
    expect(fates).toHaveLength(outcome.kind === 'done' ? turn.length : Math.max(0, turn.length - 1));
    const committed = turn.filter((_page, at) => 'fetched' in (fates[at] ?? {}));
    expect(commits.map((commit) => commit.fetched)).toEqual(committed.map(({ records }) => records.length));
    pages.push(...committed.map((page, at) => ({ ...page, quarantined: commits[at]?.quarantined ?? 0 })));
  }
}

/** The run ends, or an answer that cannot be read puts it off or, the third in a row, in a dead letter; as do circles. */
function expectOutcome(outcome: Outcome): void {
  expect(['done', 'later', 'dead_lettered']).toContain(outcome.kind);
  if (outcome.kind === 'done') expect(['succeeded', 'partial']).toContain(outcome.status);
  else
    expect(outcome).toMatchObject({
      reason: expect.stringMatching(/^Calico’s (answer cannot be read|pages have no end)/),
    });
}

/** The real client, which tells what its pages hold. */
function recordingClient(
  { sandbox: { authUrl } }: World,
  apiUrl: string,
  onPage: (stream: StreamName, records: string[]) => void,
): CalicoClient {
  const limits = { timeoutMs: 10_000, maxBodyBytes: 16 * 1024 * 1024 };
  const client = createCalicoClient({ apiUrl, authUrl, ...limits, now: Date.now });
  return {
    async send(request) {
      const answer = await client.send(request);
      const { endpoint } = request;
      if (endpoint === 'assets' || endpoint === 'transactions') {
        const { records } = answer;
        const texts = Array.from({ length: records?.length ?? 0 }, (_none, index) =>
          records?.sourceOf(index),
        );
        onPage(
          endpoint,
          texts.map((text) => JSON.stringify(JSON.parse(text ?? ''))),
        );
      }
      return answer;
    },
  };
}

/** What becomes of a page that was fetched. */
const commitLine = z.object({
  msg: z.literal('page committed'),
  fetched: z.int(),
  inserted: z.int(),
  updated: z.int(),
  unchanged: z.int(),
  duplicates: z.int(),
  quarantined: z.int(),
});

const fateLine = z.union([
  commitLine,
  z.object({ msg: z.enum(['starting the pages over', 'the first page stands']) }),
]);

function isBalanced(commit: z.output<typeof commitLine>): boolean {
  const { fetched, inserted, updated, unchanged, duplicates, quarantined } = commit;
  return fetched === inserted + updated + unchanged + duplicates + quarantined;
}

const PINO_ERROR = 50;
function isUnexpected(line: string): boolean {
  const { level, msg } = JSON.parse(line) as { level: number; msg: string };
  return level >= PINO_ERROR && msg !== 'dead letter';
}

/** Where a record is found again: the columns of its key and the fields they come from. */
const HOMES = {
  assets: {
    table: 'asset_positions',
    key: ['provider_id', 'account_id', 'asset_symbol', 'network', 'contract_address'],
  },
  transactions: { table: 'transactions', key: ['provider_id', 'transaction_id'] },
};

/** Records that are neither in their table nor in quarantine; Postgres reads them itself. */
async function lostRecords(
  world: World,
  stream: StreamName,
  pages: readonly CommittedPage[],
): Promise<{ record: string }[]> {
  const { table, key } = HOMES[stream];
  const keyIn = (json: string) => key.map((field) => `coalesce(${json}->>'${field}', '')`).join(', ');
  const held = pages.filter((page) => page.stream === stream);
  return world.rows(
    `WITH kept AS MATERIALIZED (
       SELECT customer_id, ${key.join(', ')} FROM calico.${table}
       UNION SELECT customer_id, ${keyIn('raw_text::jsonb')} FROM calico.quarantined_records WHERE stream = $3
     )
     SELECT record FROM unnest($1::text[], $2::text[]) AS page(customer_id, record)
     WHERE (customer_id, ${keyIn('record::jsonb')}) NOT IN (SELECT * FROM kept)`,
    [
      held.flatMap(({ customerId, records }) => records.map(() => customerId)),
      held.flatMap(({ records }) => records),
      stream,
    ],
  );
}
