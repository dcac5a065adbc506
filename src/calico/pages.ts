import { type CalicoClient, readAnswer } from './client.ts';
import { assetsAnswer, type ProviderError, pageQuery, transactionsAnswer } from './contract.ts';
import type { Records } from './records.ts';

export type PagedEndpoint = 'assets' | 'transactions';

/** One page as it came. `nextCursor` null: it is the last. */
export type Page = {
  cursor: string | null;
  nextCursor: string | null;
  records: Records;
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
  const { page, errors } = readAnswer(answer, ANSWERS[endpoint]);
  const { records } = answer;
  if (!records) throw answer.failAs('unreadable', 'the answer’s records are not where they belong');
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
    errors,
    partial: answer.code === 206 || errors.length > 0,
  };
}
