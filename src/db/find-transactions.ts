/** What stands of a page's transactions, in whichever of the six homes it is (promise 7). */
import type { Transaction } from './client.ts';
import { isRefused } from './errors.ts';
import { TRANSACTION_KINDS, type TransactionKind } from './schema.ts';
import { arrayLiteral, arrayOf, lines } from './upsert.ts';

/** What stands of a page's records, by the record's index in the page. */
export type Standing<Row> = ReadonlyMap<number, Row>;

/**
 * A transaction that is there already, beside the record of the same key. `unchanged`: the same, where it belongs and live, and
 * nothing else is told of it.
 */
export type ExistingTransaction = { unchanged: true } | ChangedTransaction;
export type ChangedTransaction = {
  unchanged: false;
  kind: TransactionKind;
  otherIdentity: boolean;
  firstSeenAt: string;
};

const ofKey = 't.customer_id = $1 AND t.provider_id = i.provider_id AND t.transaction_id = i.transaction_id';

/**
 * One probe of each home until the record is found, the one that it names (`i.kind`) first: nearly always it is there, and
 * where it is not it has but one. LATERAL keeps it a nested loop over primary keys, whatever the statistics say.
 */
const inItsHome = (columns: string) => `CROSS JOIN LATERAL (
${['=', '<>']
  .flatMap((is) =>
    TRANSACTION_KINDS.map(
      (kind) => `  SELECT '${kind}' AS kind, ${columns}
  FROM calico.${kind}_transactions t WHERE i.kind ${is} '${kind}' AND ${ofKey}`,
    ),
  )
  .join('\n  UNION ALL\n')}
  LIMIT 1
) AS e`;

/** The halves of `content_hash` (sync/normalize/reading.ts): of the record's text, and of what is stored. */
const textHash = (of: string) => `substring(${of}.content_hash FOR 8)`;
export const storedHash = (of: string) => `substring(${of}.content_hash FROM 9)`;

/** Places as one text: nearly all records are there and unchanged, and a row for each would cost both sides a tenth of the page. */
const places = (which: string) => `coalesce(string_agg(i.ord::text, ' ') FILTER (WHERE ${which}), '')`;
const placesIn = (text: string) => (text === '' ? [] : text.split(' ').map((ord) => Number(ord) - 1));

/** What a transaction's record says before it is read: its key, and the home that it names. */
export type TransactionGlance = { providerId: string; transactionId: string; kind: string };
/** And the first half of the `content_hash` that it would have, in hexadecimal. */
export type Spelled = { textHash: string };

/** Places of a page's records. `latest`: the latest time of those that are the same. */
export type Glanced = {
  /** They stand, live, as they were read from just this text. */
  same: number[];
  /** Their key stands otherwise. */
  otherwise: number[];
  latest: string | null;
};

const AS_IT_CAME = `(encode(${textHash('e')}, 'hex') = i.text_hash AND e.removed_at IS NULL AND (e.raw IS NOT NULL OR NOT $6))`;
const GLANCE = `
SELECT ${places(AS_IT_CAME)} AS same, ${places(`NOT ${AS_IT_CAME}`)} AS otherwise,
  to_char(max(e.occurred_at) FILTER (WHERE ${AS_IT_CAME}) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS latest
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
  WITH ORDINALITY AS i(provider_id, transaction_id, kind, text_hash, ord)
${inItsHome('content_hash, raw, removed_at, occurred_at')}`;

/** Looks at records by their keys and texts alone. `keepRaw`: one without its raw is not as it should be. */
export async function glanceAtTransactions(
  tx: Transaction,
  customerId: string,
  sought: readonly (TransactionGlance & Spelled)[],
  keepRaw: boolean,
): Promise<Glanced> {
  const column = (name: keyof (TransactionGlance & Spelled)) => arrayLiteral(sought.map((one) => one[name]));
  const values = [
    customerId,
    column('providerId'),
    column('transactionId'),
    column('kind'),
    column('textHash'),
    keepRaw,
  ];
  const [found] = await tx.query<{ same: string; otherwise: string; latest: string | null }>(
    'glance_at_transactions',
    GLANCE,
    values,
  );
  const { same = '', otherwise = '', latest = null } = found ?? {};
  return { same: placesIn(same), otherwise: placesIn(otherwise), latest };
}

/** What Postgres compares a transaction by. */
export type SoughtTransaction = {
  providerId: string;
  transactionId: string;
  kind: TransactionKind;
  contentHash: string;
  raw: string | null;
  accountId: string | null;
  occurredAt: string;
  transactionHash: string | null;
};

/** Of a raw that is not kept any more nobody needs to be rid; but it is not to be another record's than the columns are. */
const SAME_RAW = `CASE WHEN i.raw IS NULL THEN e.raw IS NULL OR ${textHash('e')} = ${textHash('i')}
    ELSE e.raw::text IS NOT DISTINCT FROM i.raw::text END`;
const UNCHANGED = `(${storedHash('e')} = ${storedHash('i')} AND ${SAME_RAW}
  AND e.kind = i.kind AND e.removed_at IS NULL)`;
const FIND = `
SELECT ${places(UNCHANGED)} AS unchanged,
  coalesce(json_agg(json_build_array(i.ord, e.kind,
      (e.account_id, e.occurred_at, e.transaction_hash)
        IS DISTINCT FROM (i.account_id, i.occurred_at, i.transaction_hash),
      e.first_seen_at::text)) FILTER (WHERE NOT ${UNCHANGED}), '[]') AS changed
FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::timestamptz[], $8::text[], ${arrayOf('$9')}::jsonb[])
  WITH ORDINALITY AS i(provider_id, transaction_id, kind, content_hash, account_id, occurred_at, transaction_hash, raw, ord)
${inItsHome('content_hash, raw, account_id, occurred_at, transaction_hash, first_seen_at, removed_at')}`;

/** What stands of the records, each by its place from 1. */
type Found = {
  unchanged: string;
  changed: [place: number, kind: TransactionKind, otherIdentity: boolean, firstSeenAt: string][];
};

/** What stands of transactions that were read. */
export async function findTransactions(
  tx: Transaction,
  customerId: string,
  sought: readonly SoughtTransaction[],
): Promise<Standing<ExistingTransaction>> {
  const column = (name: keyof SoughtTransaction) => arrayLiteral(sought.map((row) => row[name]));
  const [found] = await tx.query<Found>('find_transactions', FIND, [
    customerId,
    column('providerId'),
    column('transactionId'),
    column('kind'),
    column('contentHash'),
    column('accountId'),
    column('occurredAt'),
    column('transactionHash'),
    lines(sought.map(({ raw }) => raw)),
  ]);
  const standing = new Map<number, ExistingTransaction>();
  for (const at of placesIn(found?.unchanged ?? '')) standing.set(at, UNCHANGED_ONE);
  for (const [place, kind, otherIdentity, firstSeenAt] of found?.changed ?? [])
    standing.set(place - 1, { unchanged: false, kind, otherIdentity, firstSeenAt });
  return standing;
}
const UNCHANGED_ONE = { unchanged: true } as const;

/** Most customers have two or three kinds: what Postgres sees once of a home without a row of theirs it need not see of each record. */
const REFUSE_KNOWN = `
SELECT calico.refuse('a transaction of a page that was taken for new is there: the page is written with care')
FROM unnest($2::text[], $3::text[], $4::text[]) AS i(provider_id, transaction_id, kind)
CROSS JOIN LATERAL (
${TRANSACTION_KINDS.map(
  (kind) => `  SELECT FROM calico.${kind}_transactions t WHERE i.kind <> '${kind}' AND ${ofKey}
    AND EXISTS (SELECT FROM calico.${kind}_transactions WHERE customer_id = $1)`,
).join('\n  UNION ALL\n')}
) AS known`;

/** A row of a page that was written as new is there already. */
export class NotNewError extends Error {
  constructor() {
    super('a row of a page that was written as new is there already');
    this.name = 'NotNewError';
  }
}

/** The values of `refuseKnown`, but for whose they are. */
export const soughtElsewhere = (
  rows: readonly Pick<SoughtTransaction, 'providerId' | 'transactionId' | 'kind'>[],
) =>
  (['providerId', 'transactionId', 'kind'] as const).map((name) =>
    arrayLiteral(rows.map((row) => row[name])),
  );

/** @throws NotNewError, and the transaction fails, where one of them is in another home than its own */
export async function refuseKnown(
  tx: Transaction,
  customerId: string,
  sought: ReturnType<typeof soughtElsewhere>,
): Promise<void> {
  const meaning = (error: unknown) => (isRefused(error) ? new NotNewError() : null);
  await tx.query('refuse_known', REFUSE_KNOWN, [customerId, ...sought], meaning);
}
