import { z } from 'zod';
import { type CalicoClient, readAnswer } from './client.ts';
import {
  ACCESS_TOKEN_LIFETIME_S,
  INVALID_GRANT,
  REFRESH_TOKEN_LIFETIME_S,
  refreshTokenForm,
  tokenAnswer,
  tokenErrorAnswer,
  tokensInput,
} from './contract.ts';
import { CalicoError } from './errors.ts';
import { parseExactJson } from './json.ts';

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
    throw error instanceof CalicoError ? condemnInvalidGrant(error) : error;
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
  const tokens = tokensInput.safeParse(json);
  if (!tokens.success) return { problem: z.prettifyError(tokens.error).replaceAll('\n', ' ') };
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

function condemnInvalidGrant(error: CalicoError): CalicoError {
  const { failure } = error;
  if (failure.kind !== 'refused' || failure.body === null) return error;
  const refused = tokenErrorAnswer.safeParse(tryParse(failure.body));
  if (!refused.success || refused.data.error !== INVALID_GRANT) return error;
  return new CalicoError({ ...failure, code: 603, detail: 'the token endpoint answered invalid_grant' });
}

function tryParse(text: string): unknown {
  try {
    return parseExactJson(text);
  } catch {
    return undefined;
  }
}
