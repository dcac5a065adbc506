/** One made-up record at a time, as JSON text. Every word comes from the tables below, so nothing needs escaping. */
import { passes, type RecordFacts, type RecordFilter } from './data.ts';
import { type Draw, drawAmount, drawsFrom, hex, pick } from './generate-random.ts';

interface Asset {
  readonly symbol: string;
  readonly name: string;
  readonly network: string;
  readonly contract: string | null;
  readonly decimals: number;
  readonly priceCents: number;
}

interface Account {
  readonly providerId: string;
  readonly accountId: string;
  readonly onChain: boolean;
  readonly assets: readonly Asset[];
}

export interface GeneratedCustomer {
  readonly seed: number;
  readonly index: number;
  readonly untilMs: number;
  readonly transactionCount: number;
  readonly accounts: readonly Account[];
}

const historyMs = 3 * 365 * 24 * 60 * 60 * 1_000;

const assets: readonly Asset[] = [
  asset('BTC', 'Bitcoin', 'bitcoin', 8, 6_500_000),
  asset('ETH', 'Ether', 'ethereum', 18, 310_000),
  asset('SOL', 'Solana', 'solana', 9, 14_500),
  asset('ADA', 'Cardano', 'cardano', 6, 45),
  asset('DOGE', 'Dogecoin', 'dogecoin', 8, 12),
  asset('XRP', 'XRP', 'ripple', 6, 58),
  asset('USDC', 'USD Coin', 'ethereum', 6, 100, '0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48'),
  asset('USDT', 'Tether USD', 'ethereum', 6, 100, '0xdac17f958d2ee523a2206206994597c13d831ec7'),
  asset('LINK', 'ChainLink Token', 'ethereum', 18, 1_400, '0x514910771af9ca656af840dff83e8264ecf986ca'),
  asset('UNI', 'Uniswap', 'ethereum', 18, 750, '0x1f9840a85d5af5bf1d1762f925bdaddc4201f984'),
  asset('SHIB', 'SHIBA INU', 'ethereum', 18, 0, '0x95ad61b0a150d79219dcf64e1e6cc01f0b64c4ce'),
  asset('WETH', 'Wrapped Ether', 'ethereum', 18, 310_000, '0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2'),
];

const exchanges = ['coinbase', 'binance', 'kraken', 'gemini'];
const wallets = [
  { providerId: 'ethereum_wallet', network: 'ethereum' },
  { providerId: 'bitcoin_wallet', network: 'bitcoin' },
  { providerId: 'solana_wallet', network: 'solana' },
];

/** The six kinds: how often of a hundred, which sides they have, what they are called. */
const kinds = [
  { kind: 'input_output', share: 40, input: true, output: true, types: ['buy', 'sell', 'trade', 'swap'] },
  { kind: 'receive', share: 15, input: true, output: false, types: ['receive', 'deposit'] },
  { kind: 'send', share: 15, input: false, output: true, types: ['send', 'withdrawal'] },
  {
    kind: 'input_only',
    share: 12,
    input: true,
    output: false,
    types: ['airdrop', 'reward', 'interest', 'mint'],
  },
  { kind: 'output_only', share: 8, input: false, output: true, types: ['fee', 'burn', 'loss', 'payment'] },
  { kind: 'uncategorized', share: 10, input: true, output: true, types: ['uncategorized'] },
] as const;

const kindOfHundred = kinds.flatMap((kind) => Array.from({ length: kind.share }, () => kind));

/** JSON texts, escaped to ASCII: one wider character makes a page's string two bytes wide and halves the pages a second. */
const descriptions = [
  '"Weekly buy"',
  '"Rebalancing"',
  '"Miete f\\u00fcr M\\u00e4rz"',
  '"\\u7d66\\u4e0e\\u306e\\u4e00\\u90e8 \\ud83e\\uddfe"',
  '"Said \\"later\\" \\\\o/"',
];

/** A transaction's facts, and the draws that its remaining text is made of. */
export interface TransactionSketch extends RecordFacts {
  /** From 0. */
  readonly index: number;
  readonly timeMs: number;
  readonly kind: (typeof kinds)[number];
  readonly account: Account;
  readonly input: Asset | null;
  readonly output: Asset | null;
  readonly draw: Draw;
}

/** A customer's accounts: one exchange at least, and up to three more. */
export function accountsOf(seed: number, customerIndex: number): readonly Account[] {
  const draw = drawsFrom(seed, 1, customerIndex);
  const exchange = (providerId: string): Account => ({
    providerId,
    accountId: `acct-${hex(draw, 2)}`,
    onChain: false,
    assets,
  });
  const first = draw(exchanges.length);
  const accounts = [exchange(exchanges[first] ?? 'coinbase')];
  if (draw(2) === 0) accounts.push(exchange(exchanges[(first + 1) % exchanges.length] ?? 'binance'));
  for (const { providerId, network } of wallets) {
    if (draw(2) === 0) continue;
    const held = assets.filter((candidate) => candidate.network === network);
    accounts.push({ providerId, accountId: `0x${hex(draw, 5)}`, onChain: true, assets: held });
  }
  return accounts;
}

/** Milliseconds; rises with the index, evenly over three years with some jitter. */
export function timeOfTransaction(customer: GeneratedCustomer, index: number): number {
  return timeAt(customer, index, drawsFrom(customer.seed, 2, customer.index, index));
}

function timeAt(customer: GeneratedCustomer, index: number, draw: Draw): number {
  const stepMs = historyMs / customer.transactionCount;
  return Math.floor(customer.untilMs - historyMs + (index + draw(900) / 1_000) * stepMs);
}

/** What filters need to know of a transaction, without the cost of its text. */
export function sketchTransaction(customer: GeneratedCustomer, index: number): TransactionSketch {
  const draw = drawsFrom(customer.seed, 2, customer.index, index);
  const timeMs = timeAt(customer, index, draw);
  const kind = pick(draw, kindOfHundred);
  const account = pick(draw, customer.accounts);
  const sides = kind.kind === 'uncategorized' ? 1 + draw(3) : 3;
  const input = kind.input && (sides & 1) !== 0 ? pick(draw, account.assets) : null;
  const output = kind.output && (sides & 2) !== 0 ? pick(draw, account.assets) : null;
  const assetSymbols = [input, output].flatMap((side) => (side === null ? [] : [side.symbol]));
  return { index, timeMs, kind, account, providerId: account.providerId, input, output, assetSymbols, draw };
}

/** Draws alone give an id twice among 200,000: there are 2^32 states, and one record's may be another's some draws later. */
function hexEndingIn(index: number, draw: Draw, words: number): string {
  return hex(draw, words).slice(8) + index.toString(16).padStart(8, '0');
}

/** The transaction's JSON text. Spends the sketch's draws: call it once. */
export function transactionText(sketch: TransactionSketch): string {
  const { draw, index, kind, account, input, output } = sketch;
  const hash = account.onChain ? `"0x${hexEndingIn(index, draw, 8)}"` : 'null';
  const id = account.onChain ? hash : `"${account.providerId}-${hexEndingIn(index, draw, 4)}"`;
  const timestamp = draw(8) === 0 ? `"${new Date(sketch.timeMs).toISOString()}"` : sketch.timeMs;
  const type = `{"type":"${pick(draw, kind.types)}","subtype":${draw(4) === 0 ? '"recurring"' : 'null'}}`;
  const description = draw(6) === 0 ? pick(draw, descriptions) : 'null';
  const network = account.onChain ? `"${(input ?? output)?.network ?? 'ethereum'}"` : 'null';
  const addresses =
    kind.kind === 'send' || kind.kind === 'receive'
      ? `,"from_address":"0x${hex(draw, 5)}","to_address":"0x${hex(draw, 5)}"`
      : '';
  return (
    `{"transaction_id":${id},"kind":"${kind.kind}","provider_id":"${account.providerId}",` +
    `"account_id":"${account.accountId}","timestamp":${timestamp},` +
    `"categorization":${kind.kind === 'uncategorized' && draw(2) === 0 ? 'null' : type},` +
    `"fees":${feesText(draw, input ?? output)},"hash":${hash},` +
    `"network":${network},"description":${description}` +
    (input === null ? '' : `,"input":${amountText(draw, input)}`) +
    (output === null ? '' : `,"output":${amountText(draw, output)}`) +
    `${addresses}}`
  );
}

/** The customer's 1 to 20 positions that pass a filter, each another account and asset, as JSON text. */
export function positionTexts(customer: GeneratedCustomer, filter: RecordFilter): string[] {
  const draw = drawsFrom(customer.seed, 3, customer.index);
  const choices = customer.accounts.flatMap((account) => account.assets.map((held) => ({ account, held })));
  const count = Math.min(1 + draw(20), choices.length);
  return choices.slice(0, count).flatMap(({ account, held }) => {
    const { json: quantity, whole } = drawAmount(draw, held.decimals);
    const text =
      `{"provider_id":"${account.providerId}","account_id":"${account.accountId}",` +
      `"asset_symbol":"${held.symbol}","asset_name":"${held.name}","network":"${held.network}",` +
      `"contract_address":${quotedOrNull(held.contract)},"quantity":${quantity},` +
      `"value":${valueText(draw, whole, held)},"cost_basis":${draw(3) === 0 ? 'null' : valueText(draw, whole, held)},` +
      `"as_of":${customer.untilMs}}`;
    const facts = { timeMs: null, providerId: account.providerId, assetSymbols: [held.symbol] };
    return passes(filter, facts) ? [text] : [];
  });
}

function amountText(draw: Draw, { symbol, name, contract, decimals, priceCents }: Asset): string {
  const { json, whole } = drawAmount(draw, decimals);
  const value = draw(5) === 0 ? 'null' : valueText(draw, whole, { priceCents });
  return `{"asset_symbol":"${symbol}","asset_name":"${name}","contract_address":${quotedOrNull(contract)},"amount":${json},"value":${value}}`;
}

function feesText(draw: Draw, of: Asset | null): string {
  const count = draw(4);
  if (of === null || count === 3) return 'null';
  const items = Array.from({ length: count }, (_, index) => {
    const type = index === 0 ? 'network' : 'provider';
    const { json, whole } = drawAmount(draw, of.decimals);
    return `{"type":"${type}","asset_symbol":"${of.symbol}","amount":${json},"value":${valueText(draw, whole, of)}}`;
  });
  return `{"items":[${items.join(',')}],"total":null}`;
}

/** US dollars: the whole part at the asset's price, and up to one more unit for the rest. */
function valueText(draw: Draw, whole: number, { priceCents }: Pick<Asset, 'priceCents'>): string {
  const cents = whole * priceCents + draw(priceCents + 1);
  return `{"amount":"${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}","currency":"USD"}`;
}

function quotedOrNull(text: string | null): string {
  return text === null ? 'null' : `"${text}"`;
}

function asset(
  symbol: string,
  name: string,
  network: string,
  decimals: number,
  priceCents: number,
  contract: string | null = null,
): Asset {
  return { symbol, name, network, decimals, priceCents, contract };
}
