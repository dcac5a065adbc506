import { type CalicoClient, readAnswer } from './client.ts';
import {
  ACCESS_TOKEN_LIFETIME_S,
  OAUTH_ERROR_CODES,
  REFRESH_TOKEN_LIFETIME_S,
  refreshTokenForm,
  tokenAnswer,
  tokenErrorAnswer,
  tokensInput,
} from './contract.ts';
import { CalicoError } from './errors.ts';
import { isObject, parseExactJson } from './json.ts';

/** A customer's tokens with the instants at which they end. */
export type TokenSet = {
  accessToken: string;
  refreshToken: string;
  accessExpiresAt: Date;
  refreshExpiresAt: Date;
};

export type OAuthClient = { clientId: string; clientSecret: string };

/**
 * Trades a refresh token for a new access token (RFC 6749, section 6). Where the answer has no refresh token the old
 * one stays in force, with its old end.
 * @throws CalicoError; `invalid_grant` counts as code 603: only the customer can help.
 */
export async function refreshTokens(
  client: CalicoClient,
  oauth: OAuthClient,
  old: Pick<TokenSet, 'refreshToken' | 'refreshExpiresAt'>,
  nowMs: number,
  signal: AbortSignal,
): Promise<TokenSet> {
  const form = refreshTokenForm(old.refreshToken, oauth.clientId, oauth.clientSecret);
  try {
    const secrets = [old.refreshToken, oauth.clientSecret];
    const answer = await client.send({ endpoint: 'token', form, secrets, signal });
    const tokens = readAnswer(answer, tokenAnswer);
    return {
      accessToken: tokens.access_token,
      refreshToken: tokens.refresh_token || old.refreshToken,
      accessExpiresAt: endOf(tokens.expires_in ?? ACCESS_TOKEN_LIFETIME_S, nowMs),
      refreshExpiresAt: tokens.refresh_token
        ? endOf(tokens.refresh_token_expires_in ?? REFRESH_TOKEN_LIFETIME_S, nowMs)
        : old.refreshExpiresAt,
    };
  } catch (error) {
    throw error instanceof CalicoError ? asOAuthError(error) : error;
  }
}

/**
 * Reads what `customers add` gets on stdin: `{"access_token", "refresh_token", "expires_in"}`, seconds.
 * @returns the tokens, or `{ problem }` in words that quote none of them.
 */
export function parseTokensInput(text: string, nowMs: number): TokenSet | { problem: string } {
  let json: unknown;
  try {
    json = parseExactJson(text);
  } catch {
    return { problem: text.trim() === '' ? 'nothing came on stdin' : 'what came on stdin is not JSON' };
  }
  if (!isObject(json)) return { problem: 'what came on stdin is no JSON object' };
  const tokens = tokensInput.safeParse(json);
  if (!tokens.success) {
    const names = tokens.error.issues.map(({ path }) => String(path[0]));
    return {
      problem: names.map((name) => `${name} is ${name in json ? 'not valid' : 'missing'}`).join(', '),
    };
  }
  return {
    accessToken: tokens.data.access_token,
    refreshToken: tokens.data.refresh_token,
    accessExpiresAt: endOf(tokens.data.expires_in, nowMs),
    refreshExpiresAt: endOf(tokens.data.refresh_token_expires_in ?? REFRESH_TOKEN_LIFETIME_S, nowMs),
  };
}

/** At most ten years: a Date ends, and Postgres with it. */
function endOf(seconds: number, nowMs: number): Date {
  return new Date(nowMs + Math.min(seconds, 10 * REFRESH_TOKEN_LIFETIME_S) * 1000);
}

/**
 * RFC 6749 (5.2) sends most errors as 400 and says in `error` which it is: a refused grant is the customer's (603), a
 * refused client is ours (401), whatever the status.
 */
function asOAuthError(error: CalicoError): CalicoError {
  const { failure } = error;
  if (failure.kind !== 'refused' || failure.body === null) return error;
  const refused = tokenErrorAnswer.safeParse(tryParse(failure.body));
  const code = refused.success ? OAUTH_ERROR_CODES.get(refused.data.error) : undefined;
  if (!refused.success || code === undefined) return error;
  return new CalicoError({ ...failure, code, detail: `the token endpoint answered ${refused.data.error}` });
}

function tryParse(text: string): unknown {
  try {
    return parseExactJson(text);
  } catch {
    return undefined;
  }
}
