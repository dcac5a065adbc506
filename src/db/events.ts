/** The events of the webhook: their names and what each says. No token, no secret and no record of a customer's is in one. */
import type { Orm } from './client.ts';
import type { Ending, Receipt, Run } from './runs.ts';
import type { deadLetters } from './schema-aside.ts';
import { eventOutbox } from './schema-outbox.ts';
import type { StreamName } from './schema-sync.ts';
import type { CustomerStatus } from './statuses.ts';

type StreamCounts = Pick<
  Receipt,
  'pages' | 'fetched' | 'inserted' | 'updated' | 'unchanged' | 'duplicates' | 'quarantined' | 'removed'
>;

/** `data` is what a receiver gets, name by name: a change of it is a change of the README's "Events". */
export type Event =
  /** Its tokens are refused for good and its schedule has stopped: only signing in again helps. */
  | {
      type: 'customer.reauth_required';
      data: { customer_id: string; run_id: string; reason: string | null };
    }
  /** It is synced again, at its checkpoint; `was` is the status in which it had stopped. */
  | { type: 'customer.resumed'; data: { customer_id: string; was: CustomerStatus } }
  /** A run could not go on; the evidence is in `dead_letters`. */
  | {
      type: 'dead_letter.created';
      data: {
        customer_id: string;
        dead_letter_id: string;
        run_id: string | null;
        stream: StreamName | null;
        http_status: number | null;
        code: number | null;
        fault: string;
        reason: string;
      };
    }
  /** A run ended with its receipt in order; `partial` where providers were down or records were quarantined. */
  | {
      type: 'sync.completed';
      data: {
        customer_id: string;
        run_id: string;
        mode: Run['mode'];
        trigger: Run['trigger'];
        status: 'succeeded' | 'partial';
        reason: string | null;
        streams: Partial<Record<StreamName, StreamCounts>>;
      };
    }
  /** Its refresh token ends within 30 days: the customer should sign in again before. ISO 8601. */
  | { type: 'credentials.expiring'; data: { customer_id: string; refresh_expires_at: string } };

/**
 * Writes events into the outbox. `orm` is the transaction of the change that they tell of: both are committed, or neither.
 * They are written whether or not a webhook is set: the process that makes the change need not know.
 */
export async function announce(orm: Orm, ...events: readonly Event[]): Promise<void> {
  if (events.length === 0) return;
  await orm
    .insert(eventOutbox)
    .values(events.map(({ type, data }) => ({ eventType: type, customerId: data.customer_id, data })));
}

/** The event of a dead letter that was just written. */
export function deadLetterCreated(letter: typeof deadLetters.$inferSelect): Event {
  const { customerId, id, runId, stream, httpStatus, code, fault, reason } = letter;
  const ids = { customer_id: customerId, dead_letter_id: id, run_id: runId };
  return {
    type: 'dead_letter.created',
    data: { ...ids, stream, http_status: httpStatus, code, fault, reason },
  };
}

/** The event of a run that walked all its pages; none where its receipt does not hold. */
export function completionOf(
  { customerId, runId, mode, trigger }: Pick<Run, 'customerId' | 'runId' | 'mode' | 'trigger'>,
  { status, reason }: Pick<Ending, 'status' | 'reason'>,
  receipts: readonly Receipt[],
): Event[] {
  if (status !== 'succeeded' && status !== 'partial') return [];
  const streams = Object.fromEntries(receipts.map((receipt) => [receipt.stream, countsOf(receipt)]));
  const data = { customer_id: customerId, run_id: runId, mode, trigger, status, reason, streams };
  return [{ type: 'sync.completed', data }];
}

function countsOf(receipt: Receipt): StreamCounts {
  const { pages, fetched, inserted, updated, unchanged, duplicates, quarantined, removed } = receipt;
  return { pages, fetched, inserted, updated, unchanged, duplicates, quarantined, removed };
}
