/** The only place of the command that writes: results to stdout, everything about them to stderr. */
import { styleText } from 'node:util';

/** A line of a result. */
export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A line about what happens: errors, hints, progress. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** One JSON document; keys as the tables' columns are called, 64-bit integers as text, times in ISO 8601. */
export function sayJson(value: unknown): void {
  say(JSON.stringify(snakeCase(value), null, 2));
}

function snakeCase(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return value.map(snakeCase);
  if (value === null || typeof value !== 'object' || value instanceof Date) return value;
  const entries = Object.entries(value);
  return Object.fromEntries(
    entries.map(([key, item]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      snakeCase(item),
    ]),
  );
}

/** Text from outside as one line that cannot steer the terminal: control and formatting characters are escaped. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, (character) => {
    if (character === '\n' || character === '\t') return ' ';
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

export type Colour = 'green' | 'yellow' | 'red';

/** Coloured where stdout is a terminal that shows colours and NO_COLOR is not set. */
export function paint(colour: Colour | null, text: string): string {
  return colour === null ? text : styleText(colour, text, { stream: process.stdout });
}

export type Column<Row> = {
  title: string;
  cell(row: Row): string;
  align?: 'right';
  colour?(row: Row): Colour | null;
};

/** Rows under their titles, in columns as wide as their widest cell; `remark` is a line of its own under its row. */
export function sayTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  remark: (row: Row) => string | null = () => null,
): void {
  const cells = rows.map((row) => columns.map((column) => plain(column.cell(row))));
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...cells.map((line) => line[index]?.length ?? 0)),
  );
  const pad = (text: string, index: number) =>
    columns[index]?.align === 'right' ? text.padStart(widths[index] ?? 0) : text.padEnd(widths[index] ?? 0);
  const join = (parts: readonly string[]) => parts.join('  ').trimEnd();
  say(join(columns.map(({ title }, index) => pad(title, index))));
  for (const [at, row] of rows.entries()) {
    const padded = (cells[at] ?? []).map(pad);
    say(join(padded.map((text, index) => paint(columns[index]?.colour?.(row) ?? null, text))));
    const remarked = remark(row);
    if (remarked !== null) say(`  ${plain(remarked)}`);
  }
}

/** `calico-sync runs | head` closes the pipe early: that is no failure of ours. */
export function quietlyEndWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : 1);
  });
}

/** Ends the process once everything written has left it; a connection that hangs cannot hold it. */
export async function leave(exitCode: number): Promise<never> {
  const flushed = (stream: NodeJS.WriteStream) =>
    new Promise<void>((resolve) => void stream.write('', () => resolve()));
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  return process.exit(exitCode);
}
