/** Calico's possible ways of paging, which the contract leaves open: in which order, and what a cursor remembers. */
import { everyRecordOf, type SandboxData } from '../../src/sandbox/data.ts';
import type { MemoryData } from '../../src/sandbox/data-memory.ts';

/**
 * `oldest_first`, `newest_first`: a cursor remembers the last record, so that what comes and goes elsewhere shifts nothing.
 * `offsets`: newest first, and a cursor remembers how many records were delivered: whatever comes or goes before it shifts
 * all that follow.
 */
export const PAGINGS = ['oldest_first', 'newest_first', 'offsets'] as const;
export type Paging = (typeof PAGINGS)[number];

/** The same data, paged as `pagingOf` says of the customer. */
export function pagedData(data: MemoryData, pagingOf: (customerId: string) => Paging): SandboxData {
  return {
    customerIds: () => data.customerIds(),
    hasCustomer: (customerId) => data.hasCustomer(customerId),
    providers: (customerId) => data.providers(customerId),
    count: (stream, customerId, filter) => data.count(stream, customerId, filter),
    read: (stream, customerId, request) => {
      const paging = pagingOf(customerId);
      if (paging === 'oldest_first') return data.read(stream, customerId, request);
      const { filter, after, limit } = request;
      const texts = [...everyRecordOf(data, stream, customerId, filter)].reverse();
      const place = paging === 'offsets' ? Number(after ?? 0) : placeBehind(texts, after);
      const records = texts.slice(place, place + limit);
      const isLast = place + limit >= texts.length;
      const position = paging === 'offsets' ? String(place + limit) : (records.at(-1) ?? '');
      return { records, nextPosition: isLast ? null : position };
    },
  };
}

/** The first that is older than `after`, which may be gone by now; by id where times are equal. */
function placeBehind(texts: readonly string[], after: string | null): number {
  if (after === null) return 0;
  const index = texts.findIndex((text) => sortKeyOf(text) < sortKeyOf(after));
  return index < 0 ? texts.length : index;
}

function sortKeyOf(text: string): string {
  const { timestamp, transaction_id } = JSON.parse(text) as { timestamp: number; transaction_id: string };
  return `${String(timestamp).padStart(15, '0')} ${transaction_id}`;
}
