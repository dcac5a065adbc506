/**
 * Every name on Calico's wire, and nothing else. Were the live API to differ, this is the file to correct.
 *
 * Provenance (openapi.yaml beside this file has it part by part):
 * - documented: stated on a page of docs.getcalico.com. `/assets`, `/transactions`, `limit` (default 30, at most 100),
 *   `start_time`, `end_time`, `asset_symbols`, the six transaction shapes' names, `errors[].provider_id|cause|message`,
 *   tokens (bearer per customer, 15 minutes; refresh token 1 year), the response codes.
 * - inferred: from a documented example, name or sibling. The refresh paths, `provider_ids`, `data`/`page`/`errors` as
 *   the envelope, `grant_type=refresh_token` (RFC 6749, section 6).
 * - assumed: our best choice, nothing confirms or denies it. `cursor`, `next_cursor`, `has_more`, every field of an
 *   asset, a transaction, a fee, and `kind` as the discriminator.
 *
 * To correct a name: change it here (the property on the left is the wire's), then `npm test`. To correct a meaning
 * (which way `input` points): sync/normalize. Unknown fields are kept in `raw`; unknown enum values are kept as text.
 * What is in no schema here is reported as drift (drift.ts), with `calico-sync doctor`.
 */
import { z } from 'zod';
import { parseDecimal } from './decimal.ts';
import type { JsonNumber } from './json.ts';

/** Endpoints by our name for them: method and path below the API's base URL. */
export const ENDPOINTS = {
  refreshAssets: { method: 'POST', path: '/assets/refresh' }, // inferred
  refreshTransactions: { method: 'POST', path: '/transactions/refresh' }, // inferred
  assets: { method: 'GET', path: '/assets' }, // documented
  transactions: { method: 'GET', path: '/transactions' }, // documented
} as const;

/** The token endpoint has a URL of its own (CALICO_AUTH_URL). */
export type Endpoint = keyof typeof ENDPOINTS | 'token';

export type PageQuery = { cursor: string | null; limit: number; startTime: Date | null };

/** Query of a page: `cursor` (assumed), `limit` (documented), `start_time` in milliseconds (documented). */
export function pageQuery({ cursor, limit, startTime }: PageQuery): Record<string, string> {
  return {
    limit: String(limit),
    ...(cursor === null ? {} : { cursor }),
    ...(startTime === null ? {} : { start_time: String(startTime.getTime()) }),
  };
}

// --- values -------------------------------------------------------------------------------------------------

const jsonNumber = z.custom<JsonNumber>((value) => JSON.isRawJSON(value), 'Invalid input: expected number');
/** A JSON string or number. Not a union: a number would be refused as text first, and a refusal costs more than all else of it. */
export const textOrNumber = z.custom<string | JsonNumber>(
  (value) => typeof value === 'string' || JSON.isRawJSON(value),
  'Invalid input: expected text or number',
);
const text = z.string().nullish();
/** Known to be there, and nobody reads it: whatever it is, its record is fine. */
const unread = z.unknown().optional();
/** One of these, or a word that we do not know yet. */
const oneOf = (known: readonly string[]) => z.union([z.enum(known), z.string()]);

/** A decimal as text for `numeric`, exactly what was sent: a JSON string or number, at most 78 digits, 30 of them decimals. */
const decimal = textOrNumber.transform((value, context) => {
  const parsed = parseDecimal(typeof value === 'string' ? value : value.rawJSON);
  if (typeof parsed === 'string') return parsed;
  context.addIssue({ code: 'custom', message: parsed.problem });
  return z.NEVER;
});

/** Amounts of a transaction's sides: their side says the direction, so what a minus would mean is anyone's guess. */
const amount = decimal.refine((value) => !value.startsWith('-'), 'must not be negative');

/** Four-digit years only: beyond them ISO 8601 and Postgres write dates differently. */
const EARLIEST_MS = Date.parse('0001-01-01T00:00:00Z');
const LATEST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;

/** Milliseconds since the Unix epoch (never seconds), or RFC 3339, as RFC 3339 in UTC. Digits below the millisecond are kept to the microsecond. */
const timestamp = textOrNumber.transform((value, context) => {
  const at = typeof value === 'string' ? parseRfc3339(value) : parseMilliseconds(value.rawJSON);
  if (at !== null) return at;
  context.addIssue({ code: 'custom', message: 'is neither milliseconds since 1970 nor an RFC 3339 time' });
  return z.NEVER;
});

/** 3 March 1973. Smaller numbers are seconds: stored as milliseconds they would be transactions of January 1970. */
const LEAST_MS = 100_000_000_000;

function parseMilliseconds(source: string): string | null {
  const ms = Number(source);
  return Number.isSafeInteger(ms) && ms >= LEAST_MS && ms <= LATEST_MS ? new Date(ms).toISOString() : null;
}

function parseRfc3339(value: string): string | null {
  if (!RFC_3339.test(value) || !isDay(value.slice(0, 10))) return null;
  const ms = Date.parse(value);
  if (Number.isNaN(ms) || ms > LATEST_MS || ms < EARLIEST_MS) return null;
  const micros = /\.\d{3}(\d{1,3})/.exec(value)?.[1] ?? '';
  return new Date(ms).toISOString().replace('Z', `${micros}Z`);
}

/** `Date.parse` takes the 30th of February for the 2nd of March. */
function isDay(date: string): boolean {
  const ms = Date.parse(`${date}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(date);
}

const currencyValue = z.looseObject({ amount: decimal, currency: z.string() });

// --- records (assumed throughout) ---------------------------------------------------------------------------

const assetAmount = z.looseObject({
  asset_symbol: z.string(),
  asset_name: unread,
  contract_address: text,
  amount,
  value: currencyValue.nullish(),
});
export type WireAssetAmount = z.output<typeof assetAmount>;

const feeItem = z.looseObject({
  type: text,
  asset_symbol: z.string(),
  amount: decimal, // may be negative: a rebate
  value: currencyValue.nullish(),
});

/** The six shapes (names documented). */
export const KINDS = [
  'send',
  'receive',
  'input_only',
  'output_only',
  'input_output',
  'uncategorized',
] as const;

/** One transaction of any shape; which sides its kind must have is checked where the kind is decided. */
export const transaction = z.looseObject({
  transaction_id: z.string().min(1),
  kind: oneOf(KINDS).nullish(), // the discriminator; where missing or unknown, the shape tells
  provider_id: z.string().min(1), // documented
  account_id: text,
  timestamp,
  categorization: z.looseObject({ type: z.string(), subtype: text }).nullish(),
  input: assetAmount.nullish(), // came into the customer's account
  output: assetAmount.nullish(), // left it
  from_address: text,
  to_address: text,
  fees: z.looseObject({ items: z.array(feeItem), total: unread }).nullish(),
  hash: text,
  network: text,
  description: text,
});
export type WireTransaction = z.output<typeof transaction>;

/** One position. `quantity` may be negative: a margin account owes. */
export const assetPosition = z.looseObject({
  provider_id: z.string().min(1),
  account_id: text,
  asset_symbol: z.string(),
  asset_name: unread,
  network: text,
  contract_address: text,
  quantity: decimal,
  value: currencyValue.nullish(),
  cost_basis: currencyValue.nullish(),
  as_of: timestamp.nullish(),
});
export type WireAssetPosition = z.output<typeof assetPosition>;

// --- answers ------------------------------------------------------------------------------------------------

/** One provider's failure inside an answer (documented). */
const providerError = z.looseObject({ provider_id: text, cause: z.string(), message: text });
export type ProviderError = { providerId: string | null; cause: string; message: string | null };

const errors = z
  .array(providerError)
  .nullish()
  .transform((items): ProviderError[] =>
    (items ?? []).map(({ provider_id, cause, message }) => ({
      providerId: provider_id ?? null,
      cause,
      message: message ?? null,
    })),
  );

const page = z.looseObject({ next_cursor: text, has_more: z.boolean().nullish(), limit: unread }).nullish();

/** Where each stream's records lie in an answer: also the path on which the quarantine finds their source text. */
export const RECORDS_PATH = { assets: ['data', 'assets'], transactions: ['data', 'transactions'] } as const;

/** Envelopes. Records stay unread here: one that is malformed must not take its page with it. */
export const assetsAnswer = z
  .looseObject({ data: z.looseObject({ assets: z.array(z.unknown()) }), page, errors })
  .transform((body) => ({ records: body.data.assets, page: body.page, errors: body.errors }));
export const transactionsAnswer = z
  .looseObject({ data: z.looseObject({ transactions: z.array(z.unknown()) }), page, errors })
  .transform((body) => ({ records: body.data.transactions, page: body.page, errors: body.errors }));
export const refreshAnswer = z.looseObject({
  data: z.looseObject({ status: unread, refreshed_at: unread }),
  errors,
});

/** The body's `code`, where it is an integer; it wins over the HTTP status (response-codes.md). */
export const errorCode = z
  .looseObject({ code: jsonNumber.transform(({ rawJSON }) => Number(rawJSON)).pipe(z.int()) })
  .transform(({ code }) => code);

// --- tokens (RFC 6749, sections 5.1, 5.2 and 6) ---------------------------------------------------------------

/** Form of a token refresh. */
export function refreshTokenForm(
  refreshToken: string,
  clientId: string,
  clientSecret: string,
): URLSearchParams {
  return new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: refreshToken,
    client_id: clientId,
    client_secret: clientSecret,
  });
}

/** Some servers send them as text. */
const seconds = z
  .union([
    jsonNumber.transform(({ rawJSON }) => Number(rawJSON)),
    z.number(),
    z.string().regex(/^\d+$/).transform(Number),
  ])
  .pipe(z.number().positive());

/**
 * A token answer. `refresh_token`, where present, replaces the old one at once (rotation). That one is spent, so an answer
 * with tokens is never refused for its lifetimes: `expires_in` is only RECOMMENDED (RFC 6749, 5.1).
 */
export const tokenAnswer = z.looseObject({
  access_token: z.string().min(1),
  refresh_token: text,
  token_type: unread,
  scope: unread,
  expires_in: seconds.nullish().catch(null),
  refresh_token_expires_in: seconds.nullish().catch(null), // not in RFC 6749; some servers send it
});

/** What `customers add` reads from stdin: a token answer whose refresh token must be there. */
export const tokensInput = z.looseObject({
  access_token: z.string().min(1),
  refresh_token: z.string().min(1),
  expires_in: seconds,
  refresh_token_expires_in: seconds.nullish(),
});

/** Errors of the token endpoint that say more than its HTTP status, by the code that they mean (RFC 6749, 5.2). */
export const OAUTH_ERROR_CODES: ReadonlyMap<string, 603 | 401> = new Map([
  ['invalid_grant', 603], // the refresh token is invalid, expired or revoked
  ['invalid_client', 401],
  ['unauthorized_client', 401],
]);
export const tokenErrorAnswer = z.looseObject({ error: z.string() });

/** Lifetimes where an answer does not say (documented: 15 minutes and 1 year). */
export const ACCESS_TOKEN_LIFETIME_S = 15 * 60;
export const REFRESH_TOKEN_LIFETIME_S = 365 * 24 * 60 * 60;
