/** Records as Calico would send them: one builder a kind, each field replaceable. */
import type { TransactionKind } from '../../src/db/schema.ts';

type Fields = Readonly<Record<string, unknown>>;

/** The first instant of all records here; builders count on from it. */
export const EPOCH_MS = Date.UTC(2024, 0, 1);
export const DAY_MS = 24 * 60 * 60_000;

const input = { asset_symbol: 'BTC', amount: '7.4' };
const output = { asset_symbol: 'ETH', amount: '0.5' };

/** The sides that a kind needs. */
const SIDES: Record<TransactionKind, Fields> = {
  send: { output },
  receive: { input },
  input_only: { input },
  output_only: { output },
  input_output: { input, output },
  uncategorized: {},
};

/** A transaction of a kind. Its time is the epoch's, so that a page is ordered by id. */
export function transaction(kind: TransactionKind, id: string, fields: Fields = {}): Fields {
  return {
    transaction_id: id,
    kind,
    provider_id: 'coinbase',
    account_id: 'account-1',
    timestamp: EPOCH_MS,
    hash: `0x${id}`,
    ...SIDES[kind],
    ...fields,
  };
}

/** So many sends, `t000` and on. */
export function sends(count: number, fields: (index: number) => Fields = () => ({})): Fields[] {
  return Array.from({ length: count }, (_none, index) =>
    transaction('send', `t${String(index).padStart(3, '0')}`, fields(index)),
  );
}

export function fee(amount: string, fields: Fields = {}): Fields {
  return { type: 'network', asset_symbol: 'USD', amount, ...fields };
}

export function position(symbol: string, quantity: unknown, fields: Fields = {}): Fields {
  return {
    provider_id: 'coinbase',
    account_id: 'account-1',
    asset_symbol: symbol,
    network: 'mainnet',
    quantity,
    as_of: EPOCH_MS,
    ...fields,
  };
}

/** A record's JSON with one value written as it is given: digits, exponents and odd spellings reach the wire unread. */
export function withSource(record: Fields, field: string, source: string): string {
  return JSON.stringify({ ...record, [field]: '@source@' }).replace('"@source@"', source);
}
