import { type Answer, type CalicoClient, readAnswer } from './client.ts';
import { assetsAnswer, type ProviderError, pageQuery, RECORDS_PATH, transactionsAnswer } from './contract.ts';
import { sliceArrayElements } from './json-slices.ts';

export type PagedEndpoint = 'assets' | 'transactions';

/** One page as it came. `nextCursor` null: it is the last. */
export type Page = {
  cursor: string | null;
  nextCursor: string | null;
  records: unknown[];
  /** The exact source text of record `index`; parses again, so only for records that were refused. */
  sourceOf(index: number): string;
  /** Providers that were down; `partial` also where a 206 names none of them. */
  errors: ProviderError[];
  partial: boolean;
};

export type PageRequest = {
  endpoint: PagedEndpoint;
  cursor: string | null;
  limit: number;
  startTime: Date | null;
  bearer: string;
  signal: AbortSignal;
};

const ANSWERS = { assets: assetsAnswer, transactions: transactionsAnswer };

/**
 * Fetches one page. The walk from page to page, and its end where the pages run in a circle, are where pages are committed
 * (sync/), since a walk may span several workers. The end is where `next_cursor` is null, empty or missing, or `has_more` is false.
 * @throws CalicoError, `unreadable` where the page says that more follows and not where, or holds nothing although more
 * follows: a walk that goes on from there would never know that it lost records.
 */
export async function fetchPage(client: CalicoClient, request: PageRequest): Promise<Page> {
  const { endpoint, cursor, limit, startTime, bearer, signal } = request;
  const answer = await client.send({
    endpoint,
    query: pageQuery({ cursor, limit, startTime }),
    bearer,
    signal,
  });
  const { records, page, errors } = readAnswer(answer, ANSWERS[endpoint]);
  const nextCursor = page?.has_more === false ? null : page?.next_cursor || null;
  if (nextCursor === null && page?.has_more === true) {
    throw answer.failAs('unreadable', 'the page says has_more but has no next_cursor');
  }
  if (nextCursor !== null && records.length === 0) {
    throw answer.failAs('unreadable', 'the page is empty but has a next_cursor');
  }
  if (nextCursor !== null && nextCursor === cursor) {
    throw answer.failAs('unreadable', 'the page’s next_cursor is its own cursor');
  }
  return {
    cursor,
    nextCursor,
    records,
    sourceOf: sourceReader(answer, endpoint),
    errors,
    partial: answer.code === 206 || errors.length > 0,
  };
}

/** Slices the body at the first refused record and keeps the slices for the page's others. */
function sourceReader(answer: Answer, endpoint: PagedEndpoint): (index: number) => string {
  let sources: string[] | undefined;
  return (index) => {
    sources ??= sliceArrayElements(answer.text, RECORDS_PATH[endpoint]);
    return sources[index] ?? '';
  };
}
