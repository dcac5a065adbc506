/** Pages: what a request asks for, which records that is, and where the walk goes on. */
import type { RecordFilter, SandboxStream } from './data.ts';
import type { PageFault } from './faults.ts';
import type { HandlerContext } from './handlers.ts';
import { type Answer, dataAnswer, errorAnswer } from './handlers-answer.ts';

/** A page of either stream: 400, 702 or 703 where the question is wrong. */
export function answerPage(
  { data, cursors, serial }: HandlerContext,
  stream: SandboxStream,
  customerId: string,
  query: URLSearchParams,
  fault: PageFault | null,
): Answer {
  const asked = readPageQuery(stream, query);
  if ('body' in asked) return asked;
  const { filter, limit } = asked;
  const question = questionOf(stream, customerId, filter);
  const cursor = query.get('cursor');
  const after = cursor === null ? null : cursors.decode(question, cursor);
  if (after === undefined) return errorAnswer(400, 'cursor is malformed, expired, or for another request');

  const slice = data.read(stream, customerId, { filter, after, limit });
  const nextCursor = slice.nextPosition === null ? null : cursors.encode(question, slice.nextPosition);
  const truth: Step = { records: slice.records, nextCursor, hasMore: nextCursor !== null };
  const freshCursor = (position: string | null): string => cursors.encode(question, position, serial());
  const step = fault === null ? truth : misled(truth, fault, { cursor, after, freshCursor });
  const page = { next_cursor: step.nextCursor, has_more: step.hasMore, limit };
  return dataAnswer(`{"${stream}":[${step.records.join(',')}]}`, fault, page);
}

/** What a page holds and where it says that the walk goes on. */
interface Step {
  readonly records: readonly string[];
  readonly nextCursor: string | null;
  readonly hasMore: boolean;
}

interface Whereabouts {
  /** The request's cursor, and the position in it. */
  readonly cursor: string | null;
  readonly after: string | null;
  /** A cursor never seen before. */
  readonly freshCursor: (position: string | null) => string;
}

/** The next step of a client that is led astray; `truth` where the fault is another. */
function misled(truth: Step, fault: PageFault, { cursor, after, freshCursor }: Whereabouts): Step {
  const { nextCursor: next } = truth;
  if ('partial' in fault) return truth;
  if ('sameCursor' in fault) return { ...truth, nextCursor: cursor ?? freshCursor(null), hasMore: true };
  if ('endlessWalk' in fault) return { ...truth, nextCursor: next ?? freshCursor(null), hasMore: true };
  if ('hasMoreWithoutCursor' in fault) return { ...truth, nextCursor: null, hasMore: true };
  return { records: [], nextCursor: freshCursor(after), hasMore: true };
}

function readPageQuery(
  stream: SandboxStream,
  query: URLSearchParams,
): { readonly filter: RecordFilter; readonly limit: number } | Answer {
  const limit = wholeNumber(query.get('limit') ?? '30');
  if (limit === null || limit < 1 || limit > 100) {
    return errorAnswer(400, 'limit must be a whole number from 1 to 100');
  }
  const lists = {
    assetSymbols: listOf(query.get('asset_symbols')),
    providerIds: listOf(query.get('provider_ids')),
  };
  if (stream === 'assets') return { filter: { ...lists, startTimeMs: null, endTimeMs: null }, limit };

  const [start, end] = [query.get('start_time'), query.get('end_time')];
  const startTimeMs = start === null ? null : wholeNumber(start);
  const endTimeMs = end === null ? null : wholeNumber(end);
  if ((start !== null && startTimeMs === null) || (end !== null && endTimeMs === null)) {
    return errorAnswer(702, 'start_time and end_time must be milliseconds since the Unix epoch');
  }
  if (startTimeMs !== null && endTimeMs !== null && startTimeMs > endTimeMs) {
    return errorAnswer(703, 'start_time must not be later than end_time');
  }
  return { filter: { ...lists, startTimeMs, endTimeMs }, limit };
}

/** What a cursor belongs to; the size of pages is no part of it. */
function questionOf(stream: SandboxStream, customerId: string, filter: RecordFilter): string {
  const list = (values: ReadonlySet<string> | null): string[] | null =>
    values === null ? null : [...values].sort();
  const { startTimeMs, endTimeMs, assetSymbols, providerIds } = filter;
  return JSON.stringify([stream, customerId, startTimeMs, endTimeMs, list(assetSymbols), list(providerIds)]);
}

function wholeNumber(text: string): number | null {
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** An empty list means all, as an absent one does. */
function listOf(text: string | null): ReadonlySet<string> | null {
  const items = (text ?? '').split(',').filter((item) => item !== '');
  return items.length === 0 ? null : new Set(items);
}
