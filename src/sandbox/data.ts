/**
 * What a sandbox serves: customers, their providers and their records, in one interface for real, generated
 * and hand-made data. A record is JSON source text from end to end: it is never parsed and written again,
 * so every digit reaches the wire as it was given.
 */

export type SandboxStream = 'assets' | 'transactions';

/** Which records a request asks for; null means all. Both times are milliseconds and inclusive. */
export interface RecordFilter {
  readonly startTimeMs: number | null;
  readonly endTimeMs: number | null;
  readonly assetSymbols: ReadonlySet<string> | null;
  readonly providerIds: ReadonlySet<string> | null;
}

/** The part of a record that a filter looks at. What could not be read is null or missing. */
export interface RecordFacts {
  readonly timeMs: number | null;
  readonly providerId: string | null;
  readonly assetSymbols: readonly string[];
}

export interface SandboxProvider {
  readonly provider_id: string;
  readonly display_label: string;
  readonly status: 'connected' | 'disconnected';
}

export interface RecordRequest {
  readonly filter: RecordFilter;
  /** `nextPosition` of the slice before; null for the first. */
  readonly after: string | null;
  readonly limit: number;
}

/** Records as JSON source text, and where the next slice begins; null at the end. */
export interface RecordSlice {
  readonly records: readonly string[];
  readonly nextPosition: string | null;
}

/**
 * Records come in a stable order: by time, then id. A position stays good while records are added, changed
 * or removed around it: what was delivered is not delivered again, what stays ahead is not skipped.
 * Methods that take a customer throw for one that is not there; `hasCustomer` asks.
 */
export interface SandboxData {
  customerIds(): readonly string[];
  hasCustomer(customerId: string): boolean;
  providers(customerId: string): readonly SandboxProvider[];
  count(stream: SandboxStream, customerId: string, filter?: RecordFilter): number;
  read(stream: SandboxStream, customerId: string, request: RecordRequest): RecordSlice;
}

/** The filter that lets everything through. */
export const everyRecord: RecordFilter = {
  startTimeMs: null,
  endTimeMs: null,
  assetSymbols: null,
  providerIds: null,
};

/**
 * Whether a record passes a filter. A record without a readable time is in every window: an unreadable
 * record must reach the client that is being tested, whatever it asks for.
 */
export function passes(filter: RecordFilter, facts: RecordFacts): boolean {
  const { startTimeMs, endTimeMs, assetSymbols, providerIds } = filter;
  if (facts.timeMs !== null) {
    if (startTimeMs !== null && facts.timeMs < startTimeMs) return false;
    if (endTimeMs !== null && facts.timeMs > endTimeMs) return false;
  }
  if (providerIds !== null && !(facts.providerId !== null && providerIds.has(facts.providerId))) return false;
  return assetSymbols === null || facts.assetSymbols.some((symbol) => assetSymbols.has(symbol));
}

/** All records of a customer, as JSON source text, in order. */
export function* everyRecordOf(
  data: SandboxData,
  stream: SandboxStream,
  customerId: string,
  filter: RecordFilter = everyRecord,
): Generator<string, void> {
  let after: string | null = null;
  do {
    const slice: RecordSlice = data.read(stream, customerId, { filter, after, limit: 1_000 });
    yield* slice.records;
    after = slice.nextPosition;
  } while (after !== null);
}

/** `ethereum_wallet` as a person would write it: `Ethereum wallet`. */
export function providerOf(providerId: string): SandboxProvider {
  const words = providerId.replaceAll('_', ' ');
  return {
    provider_id: providerId,
    display_label: words.charAt(0).toUpperCase() + words.slice(1),
    status: 'connected',
  };
}
