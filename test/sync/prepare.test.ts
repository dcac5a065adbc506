/** A glance at a page may be wrong about what a record is called; what it is called when it is read counts. */
import { expect, test } from 'vitest';
import { parseWithRecords } from '../../src/calico/records.ts';
import type { Transaction } from '../../src/db/client.ts';
import { glance, type RowSpec } from '../../src/sync/prepare.ts';

type Row = { id: string };
type Key = { id: string };

/** Rows are called as their records are, in small letters. */
function specWith(asked: string[]): RowSpec<Row, never, Key> {
  const idOf = (record: unknown) => (record as { id: string }).id;
  return {
    normalize: (record) => ({ row: { id: idOf(record).toLowerCase() } }),
    keyOf: ({ id }) => id,
    identityOf: ({ id }) => id,
    conflict: 'another thing',
    timeOf: () => null,
    writer: (rows) => ({
      find: async () => {
        asked.push(rows.map(({ id }) => id).join(' '));
        return new Map<number, never>();
      },
      write: async () => ({
        inserted: 0,
        updated: 0,
        unchanged: 0,
        conflicts: [],
        answered: Promise.resolve(),
      }),
      writeNew: null,
    }),
    glance: {
      keyOf: (record) => ({ id: idOf(record) }),
      toText: ({ id }) => id,
      find: async (_tx, _customerId, sought) => ({
        same: sought.flatMap(({ id }, at) => (id === 'known' ? [at] : [])),
        otherwise: [],
        latest: null,
      }),
    },
  };
}

test.each([
  ['nothing is asked twice where a record is called as it looked', ['known', 'new'], []],
  ['one that is called otherwise is looked for under its own name', ['known', 'New'], ['known new']],
  ['one that turns out to be another is read with it', ['known', 'KNOWN'], ['known']],
])('%s', async (_what, ids, expected) => {
  const { records } = parseWithRecords(JSON.stringify({ data: ids.map((id) => ({ id })) }), ['data']);
  if (!records) throw new Error('no records');
  const page = { cursor: null, nextCursor: null, records, errors: [], partial: false };
  const asked: string[] = [];
  const tx = {} as Transaction;

  const prepared = await glance(specWith(asked), page, true)?.look(tx, 'alice');
  const owner = { customerId: 'alice', runId: '', passRunId: '', walk: 0 };
  await prepared?.look(tx, owner, prepared.candidates);

  expect(asked).toEqual(expected);
});
