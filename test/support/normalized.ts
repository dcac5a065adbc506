/** Transactions' texts and what becomes of them, for the tests of normalizing. */
import { parseExactJson } from '../../src/calico/json.ts';
import type { FeeRow, TransactionRow } from '../../src/db/transactions.ts';
import { normalizeTransaction } from '../../src/sync/normalize/transactions.ts';

/** A side with everything that one may have. */
export const SIDE =
  '{"asset_symbol":"ETH","contract_address":"0x1","amount":"1.50","value":{"amount":3,"currency":"USD"}}';
/** A side with what one must have. */
export const OTHER_SIDE = '{"asset_symbol":"BTC","amount":0.1}';
const BASE = '"transaction_id":"t1","provider_id":"p1","timestamp":1683029999000';
/** A transaction with `rest` beside what each has. */
export const record = (rest = '') => `{${BASE}${rest === '' ? '' : `,${rest}`}}`;

/** What becomes of a record with this text. */
export const normalize = (text: string, keepRaw = true) =>
  normalizeTransaction(parseExactJson(text), text, keepRaw);

/** Its row, with its fees made. @throws where it becomes none */
export const rowOf = (text: string) => madeOf(normalize(text));

/** A row with its fees made. */
function madeOf(
  result: ReturnType<typeof normalizeTransaction>,
): Omit<TransactionRow, 'fees'> & { fees: FeeRow[] } {
  if ('row' in result) return { ...result.row, fees: result.row.fees() };
  throw new Error(`no row: ${JSON.stringify(result.problems)}`);
}

/** What is wrong with a record that becomes no row, a line each. */
export function problemsOf(text: string): string[] {
  const result = normalize(text);
  if ('row' in result) throw new Error('a row');
  return result.problems.map(({ path, message }) => `${path}: ${message}`);
}
