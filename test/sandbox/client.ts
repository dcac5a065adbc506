/** A client so plain that what it sees is what the sandbox sent. */
import type { SandboxStream } from '../../src/sandbox/data.ts';
import type { Sandbox } from '../../src/sandbox/server.ts';

export interface WirePage {
  readonly data: Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>;
  readonly page: { readonly next_cursor: string | null; readonly has_more: boolean; readonly limit: number };
  readonly errors?: readonly object[];
}

export interface WireAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export type Parameters = Readonly<Record<string, string | number>>;

/** Parameters as they stand in a URL. */
export function queryOf(parameters: Parameters): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) query.set(name, String(value));
  return query;
}

/** Sends a request with an access token, of a path under the API, and reads the whole answer. */
export async function call(
  sandbox: Sandbox,
  accessToken: string,
  request: string,
  parameters: Parameters = {},
): Promise<WireAnswer> {
  const [method = 'GET', path = ''] = request.split(' ');
  const query = queryOf(parameters);
  const response = await fetch(`${sandbox.apiUrl}${path}?${query}`, {
    method,
    headers: { authorization: `Bearer ${accessToken}` },
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** One page of a customer, with fresh tokens. */
export async function page(
  sandbox: Sandbox,
  stream: SandboxStream,
  customerId: string,
  parameters: Parameters = {},
): Promise<WireAnswer & { readonly body: WirePage }> {
  const { access_token } = sandbox.issueTokens(customerId);
  const answer = await call(sandbox, access_token, `GET /${stream}`, parameters);
  return { ...answer, body: JSON.parse(answer.text) as WirePage };
}

/** Every page of a customer's walk, from the first cursor to the end. */
export async function walk(
  sandbox: Sandbox,
  stream: SandboxStream,
  customerId: string,
  parameters: Parameters = {},
): Promise<readonly (WireAnswer & { readonly body: WirePage })[]> {
  const pages = [await page(sandbox, stream, customerId, parameters)];
  for (let next = pages[0]?.body.page.next_cursor; next; ) {
    const current = await page(sandbox, stream, customerId, { ...parameters, cursor: next });
    pages.push(current);
    next = current.body.page.next_cursor;
  }
  return pages;
}

/** The records' text between the brackets of a page: what went over the wire, unparsed. */
export function recordsText(answer: WireAnswer): string {
  const start = answer.text.indexOf('[') + 1;
  return answer.text.slice(start, answer.text.indexOf(']},"page":', start - 1));
}

/** A record's ids over all pages. */
export function idsOf(pages: readonly { readonly body: WirePage }[], field = 'transaction_id'): unknown[] {
  return pages.flatMap(({ body }) => Object.values(body.data).flat()).map((record) => record[field]);
}

/** Asks the token endpoint; the sandbox's client unless the form says otherwise. */
export async function requestToken(
  sandbox: Sandbox,
  form: Readonly<Record<string, string>>,
): Promise<{ readonly status: number; readonly body: Readonly<Record<string, unknown>> }> {
  const body = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: sandbox.clientId,
    client_secret: sandbox.clientSecret,
    ...form,
  });
  const response = await fetch(sandbox.authUrl, { method: 'POST', body });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** A transaction of the least that the contract asks for. */
export function transaction(id: string, fields: object = {}): object {
  return {
    transaction_id: id,
    kind: 'uncategorized',
    provider_id: 'coinbase',
    timestamp: 1_683_000_000_000,
    ...fields,
  };
}
