import { transaction, type WireTransaction } from '../../calico/contract.ts';
import { fastReader } from '../../calico/fast-read.ts';
import { canonicalJson } from '../../calico/json.ts';
import type { TransactionGlance } from '../../db/find-transactions.ts';
import { TRANSACTION_KINDS, type TransactionKind } from '../../db/schema.ts';
import type { Problem } from '../../db/set-aside.ts';
import { type FeeRow, keyOf, type TransactionRow } from '../../db/transactions.ts';
import { contentHashOf, partHashOf } from './reading.ts';
import { keyFaults, type Normalized, problemsOf, rawOf, textField } from './record.ts';

const read = fastReader(transaction);

/**
 * Which way a side points (assumed): `input` came into the customer's account, `output` left it.
 * And what each kind has: a side it needs, may have, or has no column for.
 */
const SIDES: Record<TransactionKind, { input: SideRule; output: SideRule }> = {
  send: { input: 'absent', output: 'required' },
  receive: { input: 'required', output: 'absent' },
  input_only: { input: 'required', output: 'absent' },
  output_only: { input: 'absent', output: 'required' },
  input_output: { input: 'required', output: 'required' },
  uncategorized: { input: 'optional', output: 'optional' },
};
type SideRule = 'required' | 'optional' | 'absent';

/** Which row is a record's, before it is read; null where it cannot be told. */
export function glanceAtTransaction(record: unknown): TransactionGlance | null {
  const providerId = textField(record, 'provider_id');
  const transactionId = textField(record, 'transaction_id');
  if (!providerId || !transactionId) return null;
  return { providerId, transactionId, kind: textField(record, 'kind') ?? '' };
}

/**
 * One wire transaction as the row of its kind's table with its fees. `source` is its text. Pure and total: what is no row says
 * why.
 */
export function normalizeTransaction(
  record: unknown,
  source: string,
  keepRaw: boolean,
): Normalized<TransactionRow> {
  const raw = rawOf(record, source, keepRaw);
  if (typeof raw !== 'string') return { problems: raw, key: keyOfUnread(record) };
  const parsed = read(record);
  if (!parsed.success) return { problems: problemsOf(parsed.error), key: keyOfUnread(record) };
  const wire = parsed.data;
  const kind = kindOf(wire);
  const { provider_id, transaction_id, input, output } = wire;
  const problems = [
    ...misfit(kind, 'input', input),
    ...misfit(kind, 'output', output),
    ...keyFaults({ provider_id, transaction_id }),
  ];
  if (problems.length > 0) return { problems, key: keyOfUnread(record) };

  const fees = (wire.fees?.items ?? []).map(readFee);
  // Written out: objects spread into the middle of another cost a third of normalizing.
  const row: TransactionRow = {
    kind,
    providerId: wire.provider_id,
    transactionId: wire.transaction_id,
    accountId: wire.account_id ?? null,
    occurredAt: wire.timestamp,
    category: wire.categorization?.type ?? null,
    subcategory: wire.categorization?.subtype ?? null,
    inputAssetSymbol: input?.asset_symbol ?? null,
    inputContractAddress: input?.contract_address ?? null,
    inputAmount: input?.amount ?? null,
    inputValueAmount: input?.value?.amount ?? null,
    inputValueCurrency: input?.value?.currency ?? null,
    outputAssetSymbol: output?.asset_symbol ?? null,
    outputContractAddress: output?.contract_address ?? null,
    outputAmount: output?.amount ?? null,
    outputValueAmount: output?.value?.amount ?? null,
    outputValueCurrency: output?.value?.currency ?? null,
    fromAddress: wire.from_address ?? null,
    toAddress: wire.to_address ?? null,
    transactionHash: wire.hash ?? null,
    network: wire.network ?? null,
    description: wire.description ?? null,
    raw: null,
    contentHash: '',
    fees: () => fees.map((fee, position) => feeRow(fee, position, feeSource(record, position), keepRaw)),
  };
  row.contentHash = contentHashOf(source, JSON.stringify([row, fees]));
  if (keepRaw) row.raw = raw;
  return { row };
}

/** The discriminator's kind; where it is missing or none of the six, the shape's. */
function kindOf({ kind, input, output }: WireTransaction): TransactionKind {
  const named = TRANSACTION_KINDS.find((known) => known === kind);
  if (named) return named;
  if (input && output) return 'input_output';
  if (input) return 'input_only';
  return output ? 'output_only' : 'uncategorized';
}

/** A kind that contradicts its sides would lose an amount in the table it names. */
function misfit(kind: TransactionKind, side: 'input' | 'output', value: object | null | undefined) {
  const rule = SIDES[kind][side];
  if (rule === 'required' && !value) return [{ path: side, message: `is missing, but kind is ${kind}` }];
  if (rule === 'absent' && value) return [{ path: side, message: `is there, but kind is ${kind}` }];
  return NOTHING;
}
const NOTHING: Problem[] = [];

type WireFee = NonNullable<WireTransaction['fees']>['items'][number];

/** The fee as it came, before the contract read it. */
function feeSource(record: unknown, position: number): unknown {
  return (record as { fees: { items: unknown[] } }).fees.items[position];
}

type ReadFee = Omit<FeeRow, 'position' | 'raw' | 'contentHash'>;

function readFee(fee: WireFee): ReadFee {
  return {
    feeType: fee.type ?? null,
    assetSymbol: fee.asset_symbol,
    amount: fee.amount,
    valueAmount: fee.value?.amount ?? null,
    valueCurrency: fee.value?.currency ?? null,
  };
}

function feeRow(fee: ReadFee, position: number, source: unknown, keepRaw: boolean): FeeRow {
  const raw = canonicalJson(source);
  return { ...fee, position, raw: keepRaw ? raw : null, contentHash: partHashOf(raw) };
}

function keyOfUnread(record: unknown): string | null {
  const glance = glanceAtTransaction(record);
  return glance && keyOf(glance);
}
