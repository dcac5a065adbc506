/** docs/reliability.md says what tests have shown, and nothing that none of them tries. */
import { globSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { PAGE, ROOT, rowsOf, withRow } from './figures.ts';

const row = { tried: 'a fall', often: '1 time', result: '0 broken' };
const page = 'Text.\n\n| Tried | How often |\n|---|---|\n\nMore.\n';
const file = 'test/reliability/fall.test.ts';
const told = page.replace('---|\n', `---|\n| a fall | 1 time | 0 broken | [fall.test.ts](../${file}) |\n`);

test('a row is added once, and another figure makes the page another', () => {
  expect(withRow(page, row, file)).toBe(told);
  expect(withRow(told, row, file)).toBe(told);
  expect(withRow(told, { ...row, result: '1 broken' }, file)).toBe(told.replace('0 broken', '1 broken'));
  expect(rowsOf(told)).toEqual([{ tried: 'a fall', file }]);
});

test('every row of the page is of a test that is there, and every file of test/reliability has one', () => {
  const files = globSync('test/reliability/*.test.ts', { cwd: ROOT });
  const rows = rowsOf(readFileSync(PAGE, 'utf8'));
  const orphans = rows.filter(({ tried, file }) => {
    return !files.includes(file) || !readFileSync(ROOT + file, 'utf8').includes(`'${tried}'`);
  });
  expect(orphans).toEqual([]);
  expect([...new Set(rows.map(({ file }) => file))].toSorted()).toEqual(files.toSorted());
});
