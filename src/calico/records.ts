/**
 * The records of an answer, each read when it is asked for: nearly all stand in Postgres just as they came, which their texts
 * alone tell, and to put back the digits of their numbers would cost twice what parsing them does.
 */
import { mayHoldUnstorable, parseExactJson, restoreExactJson } from './json.ts';
import { sliceArray } from './json-slices.ts';

export type Records = {
  readonly length: number;
  /** As `JSON.parse` has it, but storable. Its texts are exact; a number may be rounded, so that nothing is to be made of it. */
  peek(index: number): unknown;
  /** As `parseExactJson` has it. */
  read(index: number): unknown;
  /** Its exact source text; parses again. */
  sourceOf(index: number): string;
};

/**
 * Parses an answer whose records are the array at `path`. In `body` they are as `peek` has them, all else is exact. `records` null: no
 * array is there.
 * @throws SyntaxError where the text is not JSON.
 */
export function parseWithRecords(
  text: string,
  path: readonly string[],
): { body: unknown; records: Records | null } {
  const found = sliceArray(text, path);
  if (!found) return { body: parseExactJson(text), records: null };
  const { start, end, sources } = found;
  const parsed = JSON.parse(text.slice(start, end)) as unknown[];
  const isRead: boolean[] = sources.map(mayHoldUnstorable);
  for (const [index, source] of sources.entries()) if (isRead[index]) parsed[index] = parseExactJson(source);
  const body = parseExactJson(`${text.slice(0, start)}[]${text.slice(end)}`);
  put(body, path, parsed);
  return {
    body,
    records: {
      length: parsed.length,
      peek: (index) => parsed[index],
      read: (index) => {
        if (!isRead[index]) parsed[index] = restoreExactJson(sources[index] ?? '', parsed[index]);
        isRead[index] = true;
        return parsed[index];
      },
      sourceOf: (index) => sources[index] ?? '',
    },
  };
}

/** One record by itself. @throws SyntaxError where it is not JSON */
export function singleRecord(source: string): Records {
  const record = parseExactJson(source);
  return { length: 1, peek: () => record, read: () => record, sourceOf: () => source };
}

function put(body: unknown, path: readonly string[], array: unknown[]): void {
  let at = body as Record<string, unknown>;
  for (const name of path.slice(0, -1)) at = at[name] as Record<string, unknown>;
  at[path.at(-1) ?? ''] = array;
}
