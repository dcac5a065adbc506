/** What a job is: one customer's turn. It names the customer and carries nothing else, so it can hold no secret. */
import { createHash } from 'node:crypto';
import { z } from 'zod';

/** The one queue. BullMQ forbids ':' in a queue's name. */
export const QUEUE_NAME = 'calico-sync';

export const JOB_NAME = 'sync';

/** A job is read back from a store that others can write to, so its data is checked like any input. */
export const jobDataSchema = z.object({ customerId: z.string().min(1) });

export type JobData = z.infer<typeof jobDataSchema>;

/**
 * The name under which a customer can be in the queue once.
 * Customer ids are arbitrary text: BullMQ takes ':' here, but makes the id part of a Redis key, and its length is
 * unbounded. A hash is 43 safe characters whatever the customer is called.
 */
export function deduplicationId(customerId: string): string {
  return createHash('sha256').update(customerId).digest('base64url');
}
