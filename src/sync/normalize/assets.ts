import { assetPosition } from '../../calico/contract.ts';
import { fastReader } from '../../calico/fast-read.ts';
import { keyOf, type PositionRow } from '../../db/positions.ts';
import { contentHashOf } from './reading.ts';
import { keyFaults, type Normalized, problemsOf, readRaw, textField } from './record.ts';

const read = fastReader(assetPosition);

/** One wire position as a row. Pure and total: what is no row says why. `source` is its text. Absent parts of the key become ''. */
export function normalizeAsset(record: unknown, source: string, keepRaw: boolean): Normalized<PositionRow> {
  const raw = readRaw(record, keepRaw);
  if (typeof raw !== 'string') return { problems: raw, key: keyOfUnread(record) };
  const parsed = read(record);
  if (!parsed.success) return { problems: problemsOf(parsed.error), key: keyOfUnread(record) };
  const wire = parsed.data;
  const { provider_id, account_id, asset_symbol, network, contract_address } = wire;
  const tooLong = keyFaults({ provider_id, account_id, asset_symbol, network, contract_address });
  if (tooLong.length > 0) return { problems: tooLong, key: keyOfUnread(record) };
  const row: PositionRow = {
    providerId: wire.provider_id,
    accountId: wire.account_id ?? '',
    assetSymbol: wire.asset_symbol,
    network: wire.network ?? '',
    contractAddress: wire.contract_address ?? '',
    quantity: wire.quantity,
    valueAmount: wire.value?.amount ?? null,
    valueCurrency: wire.value?.currency ?? null,
    costBasisAmount: wire.cost_basis?.amount ?? null,
    costBasisCurrency: wire.cost_basis?.currency ?? null,
    asOf: wire.as_of ?? null,
    raw,
    contentHash: '',
  };
  row.contentHash = contentHashOf(source, JSON.stringify(row));
  if (!keepRaw) row.raw = null;
  return { row };
}

function keyOfUnread(record: unknown): string | null {
  const providerId = textField(record, 'provider_id');
  const assetSymbol = textField(record, 'asset_symbol');
  if (!providerId || !assetSymbol) return null;
  return keyOf({
    providerId,
    assetSymbol,
    accountId: textField(record, 'account_id') ?? '',
    network: textField(record, 'network') ?? '',
    contractAddress: textField(record, 'contract_address') ?? '',
  });
}
