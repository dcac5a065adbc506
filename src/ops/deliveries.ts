/**
 * Takes events from the outbox to the webhook, at least once: an event is off the list only when the receiver has said
 * that it has it. A worker that dies with one in hand loses its claim after `CLAIM_MS`, and another sends it again.
 */
import type { Logger } from 'pino';
import { type Loop, type Outage, startLoop } from './loop.ts';
import type { OutgoingEvent, Send } from './webhook.ts';

type Claimed = OutgoingEvent & { customerId: string; attempt: number };

/** The outbox in Postgres. */
export type Outbox<Event extends Claimed> = {
  claim(limit: number, leaseMs: number): Promise<Event[]>;
  markDelivered(event: Event): Promise<void>;
  markFailed(event: Event, failure: { reason: string; delayMs: number }): Promise<string>;
};

export type DeliveryOptions<Event extends Claimed> = {
  outbox: Outbox<Event>;
  send: Send;
  log: Logger;
  outboxOutage: Outage;
  webhookOutage: Outage;
  random?: () => number;
  sleep?: (ms: number, signal: AbortSignal) => Promise<unknown>;
};

const EVERY_MS = 1_000;
/** At a time; 20 that are answered in 50 ms make 400 a second. */
const BATCH = 20;
/** Longer than an answer (15 s) and its mark take. */
const CLAIM_MS = 60_000;

/** Starts delivering. `stop` gives the requests under way half of its grace to be answered. */
export function startDeliveries<Event extends Claimed>(options: DeliveryOptions<Event>): Loop {
  const { outbox, outboxOutage: outage } = options;
  const cutOff = new AbortController();
  const loop = startLoop({
    ...options,
    everyMs: EVERY_MS,
    outage,
    once: async () => {
      const events = await outbox.claim(BATCH, CLAIM_MS);
      const ends = await Promise.allSettled(events.map((event) => deliver(options, event, cutOff.signal)));
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
      return events.length === BATCH;
    },
  });
  return {
    async stop(graceMs) {
      const timer = setTimeout(() => cutOff.abort(), graceMs / 2);
      await loop.stop(graceMs);
      clearTimeout(timer);
    },
  };
}

async function deliver<Event extends Claimed>(
  { outbox, send, log, webhookOutage, random = Math.random }: DeliveryOptions<Event>,
  event: Event,
  signal: AbortSignal,
): Promise<void> {
  const { eventId, type, customerId, attempt } = event;
  const sent = await send(event, signal);
  if (sent.delivered) {
    webhookOutage.over();
    await outbox.markDelivered(event);
    log.debug({ eventId, type, customerId, attempt }, 'event delivered');
    return;
  }
  const { reason, retryAfterMs } = sent;
  webhookOutage.failed(new Error(reason));
  const status = await outbox.markFailed(event, { reason, delayMs: delayOf(attempt, retryAfterMs, random) });
  log.debug({ eventId, type, customerId, attempt, reason, status }, 'event not delivered');
  if (status !== 'dead') return;
  log.error(
    { eventId, type, customerId, attempt, reason },
    'an event is dead: a day of tries did not deliver it',
  );
}

const FIRST_MS = 5_000;
const LONGEST_MS = 60 * 60_000;

/** Exponential with full jitter, up to an hour; `Retry-After` is a floor, up to an hour too. */
function delayOf(attempt: number, retryAfterMs: number | null, random: () => number): number {
  const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** (attempt - 1));
  const floor = Math.min(LONGEST_MS, retryAfterMs ?? 0);
  return Math.round(floor + random() * ceiling);
}
