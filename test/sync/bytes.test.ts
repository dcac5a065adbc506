/** Promise 4, byte by byte: whatever a record is made of, it is stored reversibly or set aside, and the others land. */
import { expect, test } from 'vitest';
import { unescapeUnstorable } from '../../src/calico/json.ts';
import { homesOf, receiptOf, runsOf } from '../support/look.ts';
import { position, transaction, withSource } from '../support/records.ts';
import { createWorld } from '../support/world.ts';

const MEGABYTE = 1024 * 1024;
const nested = (depth: number, [open, close]: readonly [string, string], inner = '1') =>
  `${open.repeat(depth)}${inner}${close.repeat(depth)}`;
const of = (id: string, field: string, source: string) => withSource(transaction('send', id), field, source);

/** Descriptions as they stand on the wire; all of them can be stored. */
const STORED: Record<string, string> = {
  nul: String.raw`"a\u0000b"`,
  high: String.raw`"\ud83d"`,
  low: String.raw`"x\udc4d\ud83d"`,
  pair: String.raw`"\ud83d\udc4d"`,
  lookalike: String.raw`"\\u0000 \\ud83d"`,
  controls: String.raw`"\u0001\u001b\u007f\u0085\u2028\ufeff\uffff"`,
  megabyte: `"${'é€'.repeat(MEGABYTE / 5)}"`,
  backslashes: `"${String.raw`\\`.repeat(MEGABYTE / 2)}\\u0000"`,
};

/** Whole records that are set aside, and what is said of them. */
const SET_ASIDE: Record<string, readonly [record: string, path: string]> = {
  arrays: [of('arrays', 'note', nested(10_000, ['[', ']'])), ''],
  objects: [of('objects', 'note', nested(10_000, ['{"a":', '}'])), ''],
  'in a field that is read': [of('read', 'fees', nested(100_000, ['{"items":[', ']}'])), ''],
  'just too deep': [of('deep', 'note', nested(501, ['[', ']'])), ''],
  'a megabyte of id': [transaction('send', 'm'.repeat(MEGABYTE)) as unknown as string, 'transaction_id'],
  'a number without end': [of('number', 'note', `{"a":[0,1${'0'.repeat(200_000)}]}`), 'note.a.1'],
  'an exponent': [of('exponent', 'note', '1e400000'), 'note'],
  'a NUL in the key and a broken amount': [
    of('nul\\u0000', 'output', '{"asset_symbol":"\\u0000"}'),
    'output.amount',
  ],
};

test('nothing that a record holds takes its page with it', async () => {
  const world = await createWorld({ maxBodyBytes: 64 * MEGABYTE });
  const stored = Object.entries(STORED).map(([id, source]) => of(id, 'description', source));
  const aside = Object.values(SET_ASIDE).map(([record]) =>
    typeof record === 'string'
      ? record.replace(String.raw`nul\\u0000`, String.raw`nul\u0000`)
      : JSON.stringify(record),
  );
  world.data.add(
    'transactions',
    'alice',
    ...stored,
    ...aside,
    of('shallow', 'note', nested(499, ['[', ']'])),
  );
  world.data.add(
    'transactions',
    'alice',
    of('keys', 'note', String.raw`{"\u0000":{"\ud83d":1,"__proto__":2,"constructor":3}}`),
  );
  world.data.add(
    'assets',
    'alice',
    position('OK', '1'),
    withSource(position('DEEP', '1'), 'note', nested(10_000, ['[', ']'])),
  );
  world.data.add('assets', 'alice', position('L'.repeat(MEGABYTE), '1'));
  await world.addCustomer('alice');

  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'partial' });

  expect(Object.keys(await homesOf(world, 'alice')).sort()).toEqual(
    [...Object.keys(STORED), 'shallow', 'keys'].sort(),
  );
  const [run] = await runsOf(world, 'alice');
  const counts = { pages: 1, quarantined: aside.length, balanced: true, complete: true };
  expect(await receiptOf(world, run?.run_id ?? '', 'transactions')).toMatchObject(counts);
  expect(await receiptOf(world, run?.run_id ?? '', 'assets')).toMatchObject({ inserted: 1, quarantined: 2 });

  const rows = await world.rows<{
    transaction_id: string;
    description: string;
    raw: { description: string };
  }>('SELECT transaction_id, description, raw FROM calico.transactions WHERE description IS NOT NULL');
  for (const { transaction_id, description, raw } of rows) {
    const sent = JSON.parse(STORED[transaction_id] ?? '');
    expect(unescapeUnstorable(description) === sent, transaction_id).toBe(true);
    expect(unescapeUnstorable(raw.description) === sent, `raw of ${transaction_id}`).toBe(true);
  }
  expect(rows).toHaveLength(Object.keys(STORED).length);

  const kept = await world.rows<{ raw_text: string; path: string; message: string }>(
    `SELECT raw_text, problems -> 0 ->> 'path' AS path, problems -> 0 ->> 'message' AS message
     FROM calico.quarantined_records WHERE stream = 'transactions'`,
  );
  const pathOf = new Map(kept.map(({ raw_text, path }) => [raw_text, path]));
  expect(aside.map((text) => pathOf.get(text))).toEqual(Object.values(SET_ASIDE).map(([, path]) => path));
  expect(kept.filter(({ message }) => message === 'nests deeper than 500 levels')).toHaveLength(4);
});
