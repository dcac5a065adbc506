/** docs/reliability.md: a table of what the tests of test/reliability have tried, each row written by the test itself. */
import { readFileSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const PAGE = `${ROOT}docs/reliability.md`;

/** What is the same in every run: what varies is given as "at least", what a clock says is left out. */
export type Figures = {
  /** What was done, to whom; it names the row, so it is a literal in the test's file. */
  tried: string;
  often: string;
  result: string;
};

/**
 * Says on the page what the test that calls it has shown; its last line, so that only what holds is told. Writes the row,
 * or adds it; in CI the row must be there already, as in test/app/every-answer.test.ts.
 */
export function reportFigures(figures: Figures): void {
  const page = readFileSync(PAGE, 'utf8');
  const current = withRow(page, figures, relative(ROOT, expect.getState().testPath ?? ''));
  if (process.env['CI'] === undefined) writeFileSync(PAGE, current);
  else expect(page, 'docs/reliability.md is stale: run `npm run test:reliability`').toBe(current);
}

/** The page with this row in place of the one of that name, or after the first table's last. `file` is relative to the project. */
export function withRow(page: string, { tried, often, result }: Figures, file: string): string {
  const row = `| ${tried} | ${often} | ${result} | [${file.replace(/^.*\//, '')}](../${file}) |`;
  const lines = page.split('\n');
  const known = lines.findIndex((line) => line.startsWith(`| ${tried} |`));
  if (known >= 0) return lines.with(known, row).join('\n');
  const header = lines.findIndex((line) => line.startsWith('|'));
  const end = lines.findIndex((line, index) => index > header && !line.startsWith('|'));
  return lines.toSpliced(end, 0, row).join('\n');
}

/** The rows of a page, by what was tried and the file that tried it. */
export function rowsOf(page: string): { tried: string; file: string }[] {
  const rows = page.matchAll(/^\| (?<tried>[^|]+) \|.*\]\(\.\.\/(?<file>[^)]+)\) \|$/gm);
  return [...rows].map(({ groups }) => ({ tried: groups?.['tried'] ?? '', file: groups?.['file'] ?? '' }));
}
