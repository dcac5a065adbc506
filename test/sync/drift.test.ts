/** What differs from the contract is kept once each, and never costs a page. */
import { expect, test } from 'vitest';
import { MOST_DRIFTS } from '../../src/calico/drift.ts';
import { createAlice } from '../support/alice.ts';
import { homesOf, runsOf } from '../support/look.ts';
import { position, sends, transaction } from '../support/records.ts';
import { createWorld, type World } from '../support/world.ts';

type Row = {
  endpoint: string;
  path: string;
  kind: string;
  detail: string;
  sample: string | null;
  count: string;
};

const driftOf = (world: World) =>
  world.rows<Row>(
    `SELECT endpoint, path, kind, detail, sample, count::text FROM calico.contract_drift ORDER BY endpoint, path, kind, detail`,
  );

test('each difference is one row, counted over pages, runs and customers', async () => {
  const world = await createWorld({ settings: { pageLimit: 2 } });
  for (const id of ['alice', 'bob']) {
    world.data.add('transactions', id, ...sends(5, () => ({ risk: 'low' })));
    world.data.add('transactions', id, transaction('send', 'new', { kind: 'stake' }));
    world.data.add(
      'transactions',
      id,
      transaction('send', 'bad', { output: { asset_symbol: 'ETH', amount: [1] } }),
    );
    await world.addCustomer(id);
  }
  expect(await world.sync('alice')).toMatchObject({ status: 'partial' });

  const at = { endpoint: 'transactions', detail: '' };
  const type = { kind: 'type_changed', detail: 'string or number expected, array seen', sample: '[1]' };
  const expected = (onFirst: number, onAll: number) => [
    {
      ...at,
      path: 'data.transactions[].kind',
      kind: 'unknown_value',
      detail: 'stake',
      sample: '"stake"',
      count: String(onFirst),
    },
    { ...at, path: 'data.transactions[].output.amount', ...type, count: String(onFirst) },
    {
      ...at,
      path: 'data.transactions[].risk',
      kind: 'unknown_field',
      sample: '"low"',
      count: String(onAll),
    },
  ];
  // A first load walks twice, and then looks at the first page once more.
  expect(await driftOf(world)).toEqual(expected(3, 2 * 5));
  expect(Object.keys(await homesOf(world, 'alice')), 'an unknown kind lands by its shape').toContain('new');

  await world.sync('bob');
  await world.rows('UPDATE calico.customers SET last_full_at = NULL');
  await world.makeDue('alice');
  await world.sync('alice');
  expect(await driftOf(world)).toEqual(expected(2 * 3 + 2, 5 * 5));
  const [first] = await runsOf(world, 'alice');
  expect(
    await world.rows(
      'SELECT DISTINCT first_run_id, first_seen_at < last_seen_at AS later FROM calico.contract_drift',
    ),
  ).toEqual([{ first_run_id: first?.run_id, later: true }]);
});

test('envelopes, refreshes and tokens too, and answers that are refused for it', async () => {
  const world = await createAlice();
  await world.rows(`UPDATE calico.credentials SET access_expires_at = now()`);
  const tokens = { access_token: world.sandbox.issueTokens('alice').access_token, id_token: 'top-secret' };
  world.sandbox.faults.add({ endpoint: 'token', answer: { status: 200, body: tokens } });
  world.sandbox.faults.add({
    endpoint: 'refreshAssets',
    answer: { status: 202, body: { data: { job: 'j1' } } },
  });
  world.sandbox.faults.add({
    endpoint: 'assets',
    answer: { status: 200, body: { data: { positions: [] } } },
  });

  expect(await world.sync('alice')).toMatchObject({ kind: 'later', why: 'retry' });
  const at = { detail: '', count: '1' };
  expect(await driftOf(world)).toEqual([
    { ...at, endpoint: 'assets', path: 'data.assets', kind: 'missing_field', sample: null },
    { ...at, endpoint: 'assets', path: 'data.positions', kind: 'unknown_field', sample: '[]' },
    { ...at, endpoint: 'refreshAssets', path: 'data.job', kind: 'unknown_field', sample: '"j1"' },
    { ...at, endpoint: 'token', path: 'id_token', kind: 'unknown_field', sample: null },
  ]);
});

test('what a page differs in is kept before the page after the next is asked for', async () => {
  const keptAt: number[] = [];
  const world = await createWorld({
    settings: { pageLimit: 1 },
    sandbox: {
      onRequest: async ({ endpoint }) => {
        if (endpoint === 'transactions') keptAt.push((await driftOf(world)).length);
      },
    },
  });
  world.data.add('transactions', 'alice', ...sends(3, (index) => ({ [`new${index}`]: 1 })));
  await world.addCustomer('alice');
  await world.sync('alice');
  // Of three pages, the same again, and the last look at the first; each next one is asked for while the one before is written.
  expect(keptAt).toHaveLength(7);
  for (const [page, kept] of keptAt.entries())
    expect(kept, `page ${page}`).toBeGreaterThanOrEqual(Math.min(page, 4) - 1);
  expect(keptAt.slice(3)).toEqual([3, 3, 3, 3]);
});

test('as many names as there are ids are a bounded number of rows, and none is uncounted', async () => {
  const world = await createWorld({ settings: { pageLimit: 1 } });
  const names = (from: number) =>
    Object.fromEntries(Array.from({ length: 150 }, (_none, index) => [`id-${from + index}`, 1]));
  world.data.add(
    'assets',
    'alice',
    position('A', '1', names(0)),
    position('B', '1', names(150)),
    position('C', '1', names(300)),
  );
  await world.addCustomer('alice');
  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });

  const rows = await driftOf(world);
  expect(rows).toHaveLength(MOST_DRIFTS + 1);
  expect(rows[0]).toMatchObject({ endpoint: 'assets', path: '', kind: 'more', detail: '', sample: null });
  const total = (some: typeof rows) => some.reduce((sum, { count }) => sum + Number(count), 0);
  // A first load's two walks, and the last look at the first page. Which name has a row is up to how many pages are noted together.
  expect(total(rows)).toBe(7 * 150);
  await world.rows('UPDATE calico.customers SET last_full_at = NULL');
  await world.makeDue('alice');
  await world.sync('alice');
  const again = await driftOf(world);
  expect(again).toHaveLength(MOST_DRIFTS + 1);
  expect(total(again) - total(rows)).toBe(4 * 150);
});

test('a page without drift makes no statement for it, and one whose drift cannot be kept lands all the same', async () => {
  const world = await createWorld({ ownDatabase: true });
  await world.rows('DROP TABLE calico.contract_drift');
  world.data.add('transactions', 'alice', ...sends(3));
  world.data.add('transactions', 'bob', ...sends(3, () => ({ risk: 'low' })));
  const warnings = () => world.logged.filter((line) => line.includes('differs from the contract'));
  for (const id of ['alice', 'bob']) await world.addCustomer(id);

  expect(await world.sync('alice')).toMatchObject({ status: 'succeeded' });
  expect(warnings()).toEqual([]);
  expect(await world.sync('bob')).toMatchObject({ status: 'succeeded' });
  expect(warnings()).toHaveLength(1);
});
