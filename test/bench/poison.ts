/**
 * What poison costs: a full pass over 10,000 records of which 1 % are refused, against one over clean ones, in one
 * process, interleaved; medians. `node test/bench/poison.ts`, with DATABASE_URL of a server where it may make databases.
 *
 * Pages come over loopback HTTP from this process, with no latency: a real Calico's would hide the difference. The poison is
 * where it hurts most, one record in every page.
 */
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { createCalicoClient } from '../../src/calico/client.ts';
import { fetchPage } from '../../src/calico/pages.ts';
import { beginPass, type Pass } from '../../src/db/checkpoints.ts';
import { type Database, openDatabase } from '../../src/db/client.ts';
import { addCustomer } from '../../src/db/customers.ts';
import { acquireLease } from '../../src/db/leases.ts';
import { migrateDatabase } from '../../src/db/migrate.ts';
import { openRun } from '../../src/db/open-run.ts';
import { type Committed, commitPage } from '../../src/sync/commit-page.ts';
import { STREAMS } from '../../src/sync/streams.ts';

const RECORDS = 10_000;
const PAGE = 100;
const POISON_EVERY = 100;
const ROUNDS = 5;

/** By whom a poisoned record is refused; the last by a constraint that only Postgres knows. */
const KINDS = {
  clean: {},
  'refused by the contract': { output: { asset_symbol: 'ETH', amount: 'much' } },
  'refused by Postgres': { description: 'poison' },
} as const;
type Kind = keyof typeof KINDS;

/** Real ones are as long: some 700 characters. */
function record(index: number, kind: Kind): string {
  // One in each page, the worst that 1 % can do, and each time in another place.
  const isPoison = index % POISON_EVERY === (Math.floor(index / POISON_EVERY) * 37) % POISON_EVERY;
  return JSON.stringify({
    transaction_id: `0x${createHash('sha256').update(String(index)).digest('hex')}`,
    kind: 'send',
    provider_id: 'coinbase',
    account_id: '0x7a250d5630b4cf539739df2c5dacb4c659f2488d',
    timestamp: Date.UTC(2024, 0, 1) + index * 1000,
    hash: `0x${index.toString(16).padStart(64, 'a')}`,
    network: 'ethereum',
    output: { asset_symbol: 'ETH', amount: `0.${index}`, value: { amount: `${index}.5`, currency: 'USD' } },
    from_address: '0x7a250d5630b4cf539739df2c5dacb4c659f2488d',
    to_address: '0xdac17f958d2ee523a2206206994597c13d831ec7',
    fees: { items: [{ type: 'network', asset_symbol: 'ETH', amount: '0.0021' }] },
    description: 'A payment with a few words of its own, as people write them',
    ...(isPoison ? KINDS[kind] : {}),
  });
}

function pagesOf(kind: Kind): string[] {
  const texts: string[] = [];
  for (let start = 0; start < RECORDS; start += PAGE) {
    const records = Array.from({ length: PAGE }, (_none, index) => record(start + index, kind));
    const next = start + PAGE < RECORDS ? String(start / PAGE + 1) : null;
    texts.push(
      `{"data":{"transactions":[${records.join(',')}]},"page":${JSON.stringify({ next_cursor: next })}}`,
    );
  }
  return texts;
}

/** A Calico that answers a pass's pages by their number, and nothing else. */
async function servePages(texts: ReadonlyMap<Kind, readonly string[]>) {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(`http://bench${request.url}`);
    const pages = texts.get(decodeURIComponent(pathname.split('/')[1] ?? '') as Kind) ?? [];
    response
      .setHeader('content-type', 'application/json')
      .end(pages[Number(searchParams.get('cursor') ?? 0)]);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

/** A customer's first full pass; returns its milliseconds. */
async function pass(db: Database, kind: Kind, apiUrl: string): Promise<number> {
  const customerId = randomUUID();
  const stream = STREAMS.find(({ name }) => name === 'transactions');
  if (!stream) throw new Error('there is no such stream');
  const { lease, run, first } = await db.transaction(async ({ orm }) => {
    await addCustomer(orm, customerId, null);
    const lease = await acquireLease(orm, customerId, 600_000);
    if (!lease) throw new Error('no lease');
    const run = await openRun(orm, lease, { fullSyncIntervalMs: 1, syncIntervalMs: 1 });
    const pass = { ...run, stream: 'transactions', startTime: null, liveRows: null } as const;
    return { lease, run, first: await beginPass(orm, lease, null, pass) };
  });
  const sum = { landed: 0, quarantined: 0 };
  const began = performance.now();
  const client = createCalicoClient({
    ...{ apiUrl, authUrl: apiUrl, timeoutMs: 10_000, maxBodyBytes: 1 << 24 },
    now: Date.now,
  });
  const { signal } = new AbortController();
  const request = {
    endpoint: 'transactions',
    limit: PAGE,
    startTime: null,
    bearer: 'bench',
    signal,
  } as const;
  for (let at: Pass | null = first; at; ) {
    const page = await fetchPage(client, { ...request, cursor: at.cursor });
    const commit = { lease, run, stream, pass: at, page, read: await stream.prepare(page, true, true) };
    const landed: Committed = await commitPage(db, commit).committed;
    const { counts, next } = landed;
    sum.landed += counts.inserted;
    sum.quarantined += counts.quarantined;
    at = next;
  }
  const tookMs = performance.now() - began;
  const poisoned = kind === 'clean' ? 0 : RECORDS / POISON_EVERY;
  if (sum.landed !== RECORDS - poisoned || sum.quarantined !== poisoned) {
    throw new Error(`${kind}: ${sum.landed} landed, ${sum.quarantined} quarantined`);
  }
  return tookMs;
}

async function withDatabase(work: (db: Database) => Promise<void>): Promise<void> {
  const server = process.env['DATABASE_URL'] ?? 'postgres://postgres@127.0.0.1:5432/postgres';
  const name = `bench_poison_${process.pid}`;
  const admin = new pg.Client(server);
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  try {
    await migrateDatabase(url.href);
    const client = new pg.Client(url.href);
    await client.connect();
    await client.query(`ALTER TABLE calico.send_transactions ADD CHECK (description <> 'poison')`);
    await client.end();
    const db = openDatabase({ url: url.href, maxConnections: 2 });
    await work(db).finally(() => db.close());
  } finally {
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
    await admin.end();
  }
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

await withDatabase(async (db) => {
  const kinds = Object.keys(KINDS) as Kind[];
  const calico = await servePages(new Map(kinds.map((kind) => [kind, pagesOf(kind)])));
  const times = new Map<Kind, number[]>(kinds.map((kind) => [kind, []]));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const kind of kinds) {
      const tookMs = await pass(db, kind, `${calico.url}/${encodeURIComponent(kind)}`);
      if (round > 0) times.get(kind)?.push(tookMs); // the first round warms up
    }
  }
  calico.close();
  const clean = median(times.get('clean') ?? []);
  for (const kind of kinds) {
    const tookMs = median(times.get(kind) ?? []);
    const speed = `${Math.round((RECORDS / tookMs) * 1000)} records/s`;
    process.stdout.write(
      `${kind}: ${tookMs.toFixed(0)} ms, ${speed}, ${(clean / tookMs).toFixed(2)} of clean\n`,
    );
  }
});
