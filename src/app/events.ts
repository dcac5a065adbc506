/** What a worker does besides syncing: it tells of events, and keeps what is told of small. */
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { Database } from '../db/client.ts';
import { announceExpiring } from '../db/expiring.ts';
import { openOutbox, pruneEvents } from '../db/outbox.ts';
import { startDeliveries } from '../ops/deliveries.ts';
import { type Loop, startLoop } from '../ops/loop.ts';
import { createWebhook } from '../ops/webhook.ts';
import { outageLog } from '../queue/outage.ts';

const HOUSEKEEPING_MS = 60 * 60_000;
/** Rows a transaction. */
const CHUNK = 1_000;
/** Standard Webhooks recommends 15 to 30 seconds. */
const WEBHOOK_TIMEOUT_MS = 15_000;

/** Keeps the outbox small and says which credentials end soon; where a webhook is set, delivers to it. */
export function startEvents({ events }: Config<'events'>, db: Database, log: Logger): Loop {
  const { EVENTS_WEBHOOK_URL: url, EVENTS_WEBHOOK_SECRET: secrets } = events;
  const housekeeping = startLoop({
    everyMs: HOUSEKEEPING_MS,
    outage: outageLog(log, 'housekeeping'),
    once: async () => {
      const announced = await db.transaction(({ orm }) => announceExpiring(orm, CHUNK));
      const { removed, undelivered } = await db.run((orm) => pruneEvents(orm, CHUNK));
      if (undelivered > 0 && url)
        log.warn({ undelivered }, 'events that were never delivered are too old now');
      return announced === CHUNK || removed === CHUNK;
    },
  });
  if (!url || !secrets) return housekeeping;
  const deliveries = startDeliveries({
    outbox: openOutbox(db),
    send: createWebhook({ url, secrets, timeoutMs: WEBHOOK_TIMEOUT_MS, now: Date.now }),
    log,
    outboxOutage: outageLog(log, 'outbox'),
    webhookOutage: outageLog(log, 'webhook'),
  });
  return {
    stop: async (graceMs) => {
      await Promise.all([housekeeping.stop(graceMs), deliveries.stop(graceMs)]);
    },
  };
}
