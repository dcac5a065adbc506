import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { everyRecordOf } from '../../src/sandbox/data.ts';
import { createMemoryData } from '../../src/sandbox/data-memory.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { idsOf, page, recordsText, transaction, walk } from './client.ts';

const busyWallet = '0xef1c6e67703c7bd7107eed8303fbe6ec2554bf6b';

describe('pages of real wallets', () => {
  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await startSandbox();
  });
  afterAll(() => sandbox.close());

  test.each([1, 2, 7, 21, 22, 23, 100])(
    'cover every record exactly once with a limit of %i',
    async (limit) => {
      const pages = await walk(sandbox, 'transactions', busyWallet, { limit });
      expect(pages.map(recordsText).join(',')).toBe(
        [...everyRecordOf(sandbox.data, 'transactions', busyWallet)].join(),
      );
      expect(pages).toHaveLength(Math.ceil(22 / limit));
      for (const { body } of pages.slice(0, -1)) {
        expect(Object.values(body.data)[0]).toHaveLength(limit);
        expect(body.page).toMatchObject({ has_more: true, limit });
      }
      expect(pages.at(-1)?.body.page).toEqual({ next_cursor: null, has_more: false, limit });
    },
  );

  test('hold 30 records when no limit is given', async () => {
    expect((await page(sandbox, 'transactions', busyWallet)).body.page.limit).toBe(30);
  });

  test('come in the order of time, then id', async () => {
    const pages = await walk(sandbox, 'transactions', busyWallet, { limit: 5 });
    const records = pages.flatMap(({ body }) => body.data['transactions'] ?? []);
    const keys = records.map((record) => `${record['timestamp']} ${record['transaction_id']}`);
    expect(keys).toEqual(keys.toSorted());
  });

  test('are the same when asked for again', async () => {
    const [first, again] = [
      await walk(sandbox, 'assets', busyWallet),
      await walk(sandbox, 'assets', busyWallet),
    ];
    expect(again.map(({ text }) => text)).toEqual(first.map(({ text }) => text));
  });

  test.each(['0', '101', '-1', '1.5', 'ten', '', '1e1'])(
    'are refused with a limit of "%s"',
    async (limit) => {
      const { status, text } = await page(sandbox, 'assets', busyWallet, { limit });
      expect({ status, code: JSON.parse(text).code }).toEqual({ status: 400, code: 400 });
    },
  );
});

describe('a cursor', () => {
  const data = createMemoryData();
  data.add('transactions', 'ann', ...['a', 'b', 'c', 'd'].map((id) => transaction(id)));
  data.add('transactions', 'bob', transaction('a'), transaction('b'));
  let nowMs = 1_000_000;
  let sandbox: Sandbox;
  let cursor: string;
  beforeAll(async () => {
    sandbox = await startSandbox({ data, now: () => nowMs, cursorTtlMs: 60_000 });
    cursor = (await page(sandbox, 'transactions', 'ann', { limit: 2 })).body.page.next_cursor ?? '';
  });
  afterAll(() => sandbox.close());

  test('may be used with another limit', async () => {
    expect((await page(sandbox, 'transactions', 'ann', { limit: 1, cursor })).body.page.has_more).toBe(true);
  });

  test.each([
    ['other filters', 'transactions', 'ann', { provider_ids: 'coinbase' }],
    ['a time window', 'transactions', 'ann', { start_time: 1 }],
    ['the other stream', 'assets', 'ann', {}],
    ['another customer', 'transactions', 'bob', {}],
  ] as const)('is refused with %s', async (_with, stream, customerId, parameters) => {
    const { status } = await page(sandbox, stream, customerId, { ...parameters, cursor });
    expect(status).toBe(400);
  });

  test('is refused when any of its characters is another, missing or too many', async () => {
    const characters = fc.nat({ max: cursor.length - 1 });
    const forged = fc.oneof(
      fc
        .tuple(characters, fc.constantFrom('A', 'z', '-', '=', ' '))
        .map(([at, character]) => cursor.slice(0, at) + character + cursor.slice(at + 1)),
      characters.map((length) => cursor.slice(0, length)),
      fc.string({ minLength: 1 }).map((more) => cursor + more),
      fc.base64String(),
    );
    await fc.assert(
      fc.asyncProperty(
        forged.filter((text) => text !== cursor),
        async (text) => {
          expect((await page(sandbox, 'transactions', 'ann', { cursor: text })).status).toBe(400);
        },
      ),
    );
  });

  test('is refused after its time', async () => {
    nowMs += 59_999;
    expect((await page(sandbox, 'transactions', 'ann', { cursor })).status).toBe(200);
    nowMs += 1;
    expect((await page(sandbox, 'transactions', 'ann', { cursor })).status).toBe(400);
  });
});

describe('filters', () => {
  const data = generateData({ customers: 1, transactions: 400, seed: 11 });
  const customerId = 'customer-0001';
  const all = [...everyRecordOf(data, 'transactions', customerId)].map((text) => JSON.parse(text));
  const timeOf = ({ timestamp }: { timestamp: string | number }): number => new Date(timestamp).getTime();
  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await startSandbox({ data });
  });
  afterAll(() => sandbox.close());

  test('of time are inclusive at both ends', async () => {
    const [start_time, end_time] = [timeOf(all[100]), timeOf(all[200])];
    const pages = await walk(sandbox, 'transactions', customerId, { start_time, end_time, limit: 30 });
    expect(idsOf(pages)).toEqual(all.slice(100, 201).map((record) => record.transaction_id));
  });

  test('of time may be a single millisecond', async () => {
    const at = timeOf(all[7]);
    const pages = await walk(sandbox, 'transactions', customerId, { start_time: at, end_time: at });
    expect(idsOf(pages)).toEqual([all[7].transaction_id]);
  });

  test('of assets look at both sides, of providers at the provider, and both must hold', async () => {
    const expected = all.filter(
      ({ input, output, provider_id }) =>
        ['BTC', 'ETH'].some((symbol) => input?.asset_symbol === symbol || output?.asset_symbol === symbol) &&
        provider_id === all[0].provider_id,
    );
    const pages = await walk(sandbox, 'transactions', customerId, {
      asset_symbols: 'BTC,ETH',
      provider_ids: all[0].provider_id,
      limit: 9,
    });
    expect(idsOf(pages)).toEqual(expected.map((record) => record.transaction_id));
    expect(expected.length).toBeGreaterThan(10);
  });

  test('apply to positions too, which know no time', async () => {
    const pages = await walk(sandbox, 'assets', customerId, { asset_symbols: 'BTC', start_time: 'ignored' });
    expect(new Set(idsOf(pages, 'asset_symbol'))).toEqual(new Set(['BTC']));
  });

  test('that nothing passes make one empty page', async () => {
    const pages = await walk(sandbox, 'transactions', customerId, { asset_symbols: 'NONE' });
    expect(pages.map(({ body }) => body.data)).toEqual([{ transactions: [] }]);
  });

  test.each([
    [{ start_time: 'yesterday' }, 702],
    [{ end_time: '1.5' }, 702],
    [{ start_time: '-1' }, 702],
    [{ start_time: 2, end_time: 1 }, 703],
  ])('%j are refused with code %i', async (parameters, code) => {
    const { status, text } = await page(
      sandbox,
      'transactions',
      customerId,
      parameters as Record<string, string>,
    );
    expect({ status, code: JSON.parse(text).code }).toEqual({ status: 400, code });
  });
});

describe('a walk over data that changes', () => {
  test('misses nothing that stays and repeats nothing', async () => {
    const data = createMemoryData();
    data.add('transactions', 'ann', ...['b', 'd', 'f', 'h'].map((id) => transaction(id)));
    await using sandbox = await startSandbox({ data });
    const first = await page(sandbox, 'transactions', 'ann', { limit: 2 });
    data.add('transactions', 'ann', transaction('a'), transaction('g'));
    data.remove('transactions', 'ann', 'd');
    const cursor = first.body.page.next_cursor ?? '';
    const second = await page(sandbox, 'transactions', 'ann', { limit: 9, cursor });
    expect(idsOf([first, second])).toEqual(['b', 'd', 'f', 'g', 'h']);
  });

  test('delivers both of two duplicates, also with a page ending between them', async () => {
    const data = createMemoryData();
    data.add('transactions', 'ann', transaction('a'), transaction('a', { kind: 'send' }));
    await using sandbox = await startSandbox({ data });
    expect(idsOf(await walk(sandbox, 'transactions', 'ann', { limit: 1 }))).toEqual(['a', 'a']);
  });
});
