/** What each endpoint answers to a customer whose token was good. Knows nothing of sockets. */

import type { SandboxData } from './data.ts';
import type { Endpoint, PageFault } from './faults.ts';
import { type Answer, dataAnswer } from './handlers-answer.ts';
import type { CursorCodec } from './handlers-cursor.ts';
import { answerPage } from './handlers-page.ts';
import type { TokenStore } from './tokens.ts';

export interface HandlerContext {
  readonly data: SandboxData;
  readonly tokens: TokenStore;
  readonly cursors: CursorCodec;
  readonly now: () => number;
  readonly clientId: string;
  readonly clientSecret: string;
  /** A number never returned before. */
  readonly serial: () => number;
}

/** Answers a request of a customer; a fault may change what a page says of the walk, and add a provider's failure. */
export function answerCustomer(
  context: HandlerContext,
  endpoint: Exclude<Endpoint, 'token'>,
  customerId: string,
  query: URLSearchParams,
  fault: PageFault | null,
): Answer {
  switch (endpoint) {
    case 'assets':
    case 'transactions':
      return answerPage(context, endpoint, customerId, query, fault);
    case 'providers':
      return dataAnswer(JSON.stringify({ providers: context.data.providers(customerId) }), fault);
    case 'refreshAssets':
    case 'refreshTransactions':
      return dataAnswer(JSON.stringify({ status: 'completed', refreshed_at: context.now() }), fault);
  }
}

/** The token endpoint: RFC 6749 section 6, errors as in section 5.2. */
export function answerToken(context: HandlerContext, form: URLSearchParams): Answer {
  const refused = (status: number, error: string): Answer => ({ status, body: JSON.stringify({ error }) });
  const refreshToken = form.get('refresh_token');
  if (form.get('client_id') !== context.clientId || form.get('client_secret') !== context.clientSecret) {
    return refused(401, 'invalid_client');
  }
  if (form.get('grant_type') === null) return refused(400, 'invalid_request');
  if (form.get('grant_type') !== 'refresh_token') return refused(400, 'unsupported_grant_type');
  if (refreshToken === null) return refused(400, 'invalid_request');
  const answer = context.tokens.refresh(refreshToken);
  if (answer === null) return refused(400, 'invalid_grant');
  return { status: 200, body: JSON.stringify(answer), headers: { 'cache-control': 'no-store' } };
}
