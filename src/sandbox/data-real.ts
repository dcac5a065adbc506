/** Real wallets: everything they did in two blocks of Ethereum mainnet. See /README.md for where it comes from. */
import { readFileSync } from 'node:fs';
import { createMemoryData, type MemoryData } from './data-memory.ts';

const realDataUrl = new URL('./data/ethereum-mainnet-17173049.jsonl', import.meta.url);
const lineShape = /^\{"customer_id":"(?<customerId>[^"]+)","transaction":(?<transaction>\{.*\})\}$/;

/** A side of a transaction, its amount as the source's digits. */
interface Side {
  readonly asset_symbol: string;
  readonly contract_address: string | null;
  readonly amount: string;
}

interface RealTransaction {
  readonly timestamp: string;
  readonly input?: Side | null;
  readonly output?: Side | null;
}

/**
 * 538 wallets with 674 transactions, one customer a wallet. Transactions are the file's text, byte for byte.
 *
 * The positions are made up by the sandbox, for the file has none: one for each asset that a wallet received
 * or sent, its quantity the exact sum of what it received. Two blocks do not tell what a wallet holds.
 */
export function loadRealData(source: URL = realDataUrl): MemoryData {
  const data = createMemoryData();
  const wallets = new Map<string, RealTransaction[]>();
  for (const line of readFileSync(source, 'utf8').trimEnd().split('\n')) {
    const { customerId, transaction } = lineShape.exec(line)?.groups ?? {};
    if (customerId === undefined || transaction === undefined) {
      throw new Error(`${source.pathname} has a line of another shape: ${line.slice(0, 80)}`);
    }
    data.add('transactions', customerId, transaction);
    const earlier = wallets.get(customerId) ?? [];
    wallets.set(customerId, [...earlier, parseWithDigits(transaction)]);
  }
  for (const [wallet, transactions] of wallets) {
    data.add('assets', wallet, ...positionsOf(wallet, transactions));
  }
  return data;
}

function positionsOf(wallet: string, transactions: readonly RealTransaction[]): string[] {
  const held = new Map<string, Side>();
  for (const { input, output } of transactions) {
    for (const { side, received } of [
      { side: input, received: input?.amount ?? '0' },
      { side: output, received: '0' },
    ]) {
      if (side === undefined || side === null) continue;
      const key = JSON.stringify([side.asset_symbol, side.contract_address]);
      held.set(key, { ...side, amount: addDecimals(held.get(key)?.amount ?? '0', received) });
    }
  }
  const asOf = transactions
    .map(({ timestamp }) => timestamp)
    .sort()
    .at(-1);
  return [...held.values()].map(({ asset_symbol, contract_address, amount }, index) => {
    const named = JSON.stringify({
      provider_id: 'ethereum_wallet',
      account_id: wallet,
      asset_symbol,
      network: 'ethereum',
      contract_address,
    });
    // Every second quantity is a JSON number, as the file's amounts are.
    const quantity = index % 2 === 0 ? `"${amount}"` : amount;
    return `${named.slice(0, -1)},"quantity":${quantity},"as_of":${asOf}}`;
  });
}

/** Parses a transaction with every number as the text that stands in the source. */
function parseWithDigits(text: string): RealTransaction {
  const keepDigits = (_key: string, value: unknown, context?: { readonly source?: string }): unknown =>
    typeof value === 'number' ? context?.source : value;
  return JSON.parse(text, keepDigits) as RealTransaction;
}

/** The exact sum of two plain decimals, not negative. */
export function addDecimals(one: string, other: string): string {
  const scale = Math.max(fractionOf(one).length, fractionOf(other).length);
  const sum = (scaled(one, scale) + scaled(other, scale)).toString().padStart(scale + 1, '0');
  const whole = sum.slice(0, sum.length - scale);
  const fraction = sum.slice(sum.length - scale).replace(/0+$/, '');
  return fraction === '' ? whole : `${whole}.${fraction}`;
}

function scaled(decimal: string, scale: number): bigint {
  const fraction = fractionOf(decimal);
  return BigInt(decimal.replace('.', '') + '0'.repeat(scale - fraction.length));
}

function fractionOf(decimal: string): string {
  return decimal.split('.')[1] ?? '';
}
