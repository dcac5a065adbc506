/**
 * One event as one signed HTTP request, by Standard Webhooks 1.0.0
 * (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
 */
import { createHmac } from 'node:crypto';

/** `occurredAt` is ISO 8601. */
export type OutgoingEvent = { eventId: string; type: string; occurredAt: string; data: unknown };

/** `reason` names neither the URL nor the secret. */
export type Sent = { delivered: true } | { delivered: false; reason: string; retryAfterMs: number | null };

export type Send = (event: OutgoingEvent, signal: AbortSignal) => Promise<Sent>;

export type WebhookOptions = {
  url: string;
  /** Each signs, so that a receiver may replace its own at any time. */
  secrets: readonly Buffer[];
  /** Up to the first byte of the answer. */
  timeoutMs: number;
  now: () => number;
};

/**
 * Sends events to a webhook, each once; never throws. Any 2xx means delivered. Anything else does not, redirects
 * included: the next host must not get what was signed for this one. What is answered beyond the status is not read.
 */
export function createWebhook({ url, secrets, timeoutMs, now }: WebhookOptions): Send {
  return async ({ eventId, type, occurredAt, data }, signal) => {
    const body = JSON.stringify({ type, timestamp: occurredAt, data });
    const timestamp = Math.floor(now() / 1000);
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      const response = await fetch(url, {
        method: 'POST',
        redirect: 'manual',
        signal: AbortSignal.any([signal, timeout]),
        headers: {
          'content-type': 'application/json',
          'user-agent': 'calico-sync',
          'webhook-id': eventId,
          'webhook-timestamp': String(timestamp),
          'webhook-signature': secrets
            .map((secret) => signatureOf(secret, eventId, timestamp, body))
            .join(' '),
        },
        body,
      });
      await response.body?.cancel().catch(() => {});
      if (response.ok) return { delivered: true };
      const retryAfterMs = readRetryAfter(response.headers.get('retry-after'), now());
      return { delivered: false, reason: `the webhook answered ${response.status}`, retryAfterMs };
    } catch (error) {
      const reason = timeout.aborted ? `no answer within ${timeoutMs / 1000} s` : reasonOf(error, signal);
      return { delivered: false, reason, retryAfterMs: null };
    }
  };
}

/** HMAC-SHA256 of `id.timestamp.body`, and which scheme it is. `timestamp` is of the attempt, in seconds. */
export function signatureOf(secret: Buffer, id: string, timestamp: number, body: string): string {
  const signed = createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`);
  return `v1,${signed.digest('base64')}`;
}

/** The system's own code where there is one: messages may quote the URL. */
function reasonOf(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'this worker stopped before an answer came';
  const cause = error instanceof Error ? error.cause : undefined;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'no answer';
  return `the webhook could not be reached (${code})`;
}

/** Seconds or an HTTP date (RFC 9110, 10.2.3). */
function readRetryAfter(value: string | null, nowMs: number): number | null {
  if (value === null) return null;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
