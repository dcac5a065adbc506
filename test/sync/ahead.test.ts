/** The next page is asked for at once, and reading it keeps nobody from this thread for long. */
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Page } from '../../src/calico/pages.ts';
import { parseWithRecords } from '../../src/calico/records.ts';
import { beginAhead } from '../../src/sync/ahead.ts';
import { STREAMS } from '../../src/sync/streams.ts';
import { transaction } from '../support/records.ts';

test('work begins before anybody waits for it', async () => {
  const done: string[] = [];
  const begun = await beginAhead(async () => done.push('asked'));
  expect(done).toEqual(['asked']);
  expect(await begun.result()).toBe(1);
});

test('work that fails is over, whoever asks for its result', async () => {
  const failing = async () => {
    throw new Error('no page');
  };
  const begun = await beginAhead(failing);
  await begun.ended;
  await expect(begun.result()).rejects.toThrow('no page');
});

test('while a page of a hundred records is read, others have four turns', async () => {
  const stream = STREAMS.find(({ name }) => name === 'transactions');
  const texts = Array.from({ length: 100 }, (_none, index) =>
    JSON.stringify(transaction('send', `t${index}`)),
  );
  const { records } = parseWithRecords(`{"data":[${texts}]}`, ['data']);
  if (!records) throw new Error('no records');
  const page: Page = {
    cursor: null,
    nextCursor: null,
    records,
    errors: [],
    partial: false,
  };
  let isRead = false;
  const reading = stream?.prepare(page, true, true).finally(() => {
    isRead = true;
  });
  let turns = 0;
  for (; !isRead; turns++) await setImmediate();
  expect(turns).toBe(4);
  expect(await reading).toMatchObject({ duplicates: 0, refused: [] });
});
