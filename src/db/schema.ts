/**
 * The tables of schema `calico` that hold what Calico said: positions, transactions and their fees.
 * The worker's own tables are in schema-sync.ts. Names here are what analysts and tools rely on (design, "Tables").
 */
import { type SQL, sql } from 'drizzle-orm';
import {
  customType,
  index,
  integer,
  jsonb,
  numeric,
  type PgColumnBuilderBase,
  pgSchema,
  primaryKey,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core';

export const calico = pgSchema('calico');

const bytea = customType<{ data: string; driverData: string }>({ dataType: () => 'bytea' });
const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'string' });

/** What every data row carries besides its facts. `content_hash`: of the record's text and how it was read, and of what is stored (sync/normalize/reading.ts). */
const provenance = () => ({
  raw: jsonb('raw'),
  contentHash: bytea('content_hash').notNull(),
  firstSeenAt: instant('first_seen_at').notNull().default(sql`now()`),
  lastChangedAt: instant('last_changed_at').notNull().default(sql`now()`),
  lastRunId: uuid('last_run_id').notNull(),
  removedAt: instant('removed_at'),
});

// --- positions ----------------------------------------------------------------------------------------------

/** Absent parts of the key are '' so that they compare equal: NULL never does. */
const positionColumns = () => ({
  customerId: text('customer_id').notNull(),
  providerId: text('provider_id').notNull(),
  accountId: text('account_id').notNull().default(''),
  assetSymbol: text('asset_symbol').notNull(),
  network: text('network').notNull().default(''),
  contractAddress: text('contract_address').notNull().default(''),
  quantity: numeric('quantity').notNull(),
  valueAmount: numeric('value_amount'),
  valueCurrency: text('value_currency'),
  costBasisAmount: numeric('cost_basis_amount'),
  costBasisCurrency: text('cost_basis_currency'),
  asOf: instant('as_of'),
  ...provenance(),
});

/** What a customer holds now, as Calico last said. */
export const assetPositions = calico.table('asset_positions', positionColumns(), (t) => [
  primaryKey({
    columns: [t.customerId, t.providerId, t.accountId, t.assetSymbol, t.network, t.contractAddress],
  }),
]);

/**
 * Every state a position has had: one row from `valid_from` (when it was committed here) to `valid_to` (when its
 * successor was, exclusive; NULL for the current one). A new `as_of` alone makes no new row.
 */
export const assetPositionHistory = calico.table(
  'asset_position_history',
  {
    ...positionColumns(),
    validFrom: instant('valid_from').notNull().default(sql`now()`),
    validTo: instant('valid_to'),
  },
  (t) => [
    primaryKey({
      columns: [
        t.customerId,
        t.providerId,
        t.accountId,
        t.assetSymbol,
        t.network,
        t.contractAddress,
        t.validFrom,
      ],
    }),
  ],
);

// --- transactions -------------------------------------------------------------------------------------------

const side = <P extends 'input' | 'output'>(prefix: P) =>
  ({
    [`${prefix}AssetSymbol`]: text(`${prefix}_asset_symbol`),
    [`${prefix}ContractAddress`]: text(`${prefix}_contract_address`),
    [`${prefix}Amount`]: numeric(`${prefix}_amount`),
    [`${prefix}ValueAmount`]: numeric(`${prefix}_value_amount`),
    [`${prefix}ValueCurrency`]: text(`${prefix}_value_currency`),
  }) as Record<`${P}AssetSymbol` | `${P}ContractAddress` | `${P}ValueCurrency`, ReturnType<typeof text>> &
    Record<`${P}Amount` | `${P}ValueAmount`, ReturnType<typeof numeric>>;

const addresses = () => ({ fromAddress: text('from_address'), toAddress: text('to_address') });

/** One table a kind; each has the columns that its kind has. A transaction is in exactly one (promise 7). */
const transactionTable = <Name extends string, Own extends Record<string, PgColumnBuilderBase>>(
  name: Name,
  own: Own,
) =>
  calico.table(
    name,
    {
      customerId: text('customer_id').notNull(),
      providerId: text('provider_id').notNull(),
      transactionId: text('transaction_id').notNull(),
      accountId: text('account_id'),
      occurredAt: instant('occurred_at').notNull(),
      category: text('category'),
      subcategory: text('subcategory'),
      ...own,
      transactionHash: text('transaction_hash'),
      network: text('network'),
      description: text('description'),
      ...provenance(),
    },
    (t) => [
      primaryKey({ columns: [t['customerId'], t['providerId'], t['transactionId']] }),
      // For analysts, who ask for live rows. Partial, so that no plan of the worker's can take it for the key: one made
      // while the table was small would go on to read all of a customer's rows for each record of a page.
      index(`${name}_by_time`).on(t['customerId'], t['occurredAt']).where(sql`removed_at IS NULL`),
    ],
  );

export const sendTransactions = transactionTable('send_transactions', { ...side('output'), ...addresses() });
export const receiveTransactions = transactionTable('receive_transactions', {
  ...side('input'),
  ...addresses(),
});
export const inputOnlyTransactions = transactionTable('input_only_transactions', side('input'));
export const outputOnlyTransactions = transactionTable('output_only_transactions', side('output'));
export const inputOutputTransactions = transactionTable('input_output_transactions', {
  ...side('input'),
  ...side('output'),
});
export const uncategorizedTransactions = transactionTable('uncategorized_transactions', {
  ...side('input'),
  ...side('output'),
});

/** The six homes of a transaction by its kind. */
export const transactionTables = {
  send: sendTransactions,
  receive: receiveTransactions,
  input_only: inputOnlyTransactions,
  output_only: outputOnlyTransactions,
  input_output: inputOutputTransactions,
  uncategorized: uncategorizedTransactions,
} as const;

export type TransactionKind = keyof typeof transactionTables;
export const TRANSACTION_KINDS = Object.keys(transactionTables) as TransactionKind[];

/** Fees of a transaction in the order in which Calico lists them (`position` from 0). */
export const transactionFees = calico.table(
  'transaction_fees',
  {
    customerId: text('customer_id').notNull(),
    providerId: text('provider_id').notNull(),
    transactionId: text('transaction_id').notNull(),
    position: integer('position').notNull(),
    feeType: text('fee_type'),
    assetSymbol: text('asset_symbol').notNull(),
    amount: numeric('amount').notNull(),
    valueAmount: numeric('value_amount'),
    valueCurrency: text('value_currency'),
    ...provenance(),
  },
  (t) => [primaryKey({ columns: [t.customerId, t.providerId, t.transactionId, t.position] })],
);

// --- views --------------------------------------------------------------------------------------------------

const SIDE_COLUMNS = ['asset_symbol', 'contract_address', 'amount', 'value_amount', 'value_currency'];
const VIEW_COLUMNS = [
  ...['customer_id', 'provider_id', 'transaction_id', 'account_id', 'occurred_at', 'category', 'subcategory'],
  ...SIDE_COLUMNS.map((column) => `input_${column}`),
  ...SIDE_COLUMNS.map((column) => `output_${column}`),
  ...['from_address', 'to_address', 'transaction_hash', 'network', 'description'],
  ...['raw', 'content_hash', 'first_seen_at', 'last_changed_at', 'last_run_id', 'removed_at'],
];

/** `SELECT` of one kind's rows in the view's columns; what the kind has not is NULL. */
function viewBranch(kind: TransactionKind): string {
  const own = new Set(
    Object.values(transactionTables[kind]).map((column) => (column as { name?: string }).name),
  );
  const columns = VIEW_COLUMNS.map((column) => {
    if (own.has(column)) return column;
    return `NULL::${column.endsWith('_amount') ? 'numeric' : 'text'} AS ${column}`;
  });
  return `SELECT '${kind}' AS kind, ${columns.join(', ')} FROM calico.${kind}_transactions`;
}

const unionOfKinds: SQL = sql.raw(TRANSACTION_KINDS.map(viewBranch).join('\nUNION ALL\n'));

/** All six kinds with both sides. Rows that were removed are in it too: filter on `removed_at IS NULL`. */
export const transactionsView = calico
  .view('transactions', {
    kind: text('kind').notNull(),
    customerId: text('customer_id').notNull(),
    providerId: text('provider_id').notNull(),
    transactionId: text('transaction_id').notNull(),
    occurredAt: instant('occurred_at').notNull(),
    inputAssetSymbol: text('input_asset_symbol'),
    inputAmount: numeric('input_amount'),
    outputAssetSymbol: text('output_asset_symbol'),
    outputAmount: numeric('output_amount'),
    removedAt: instant('removed_at'),
  })
  .as(unionOfKinds);
