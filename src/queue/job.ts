/** What a job is: one customer's turns. It names the customer and carries no secret. */
import { createHash } from 'node:crypto';
import { z } from 'zod';

/** The one queue. BullMQ forbids ':' in a queue's name. */
export const QUEUE_NAME = 'calico-sync';

export const JOB_NAME = 'sync';

/**
 * A job is read back from a store that others can write to, so its data is checked like any input. `survivedStalls`: of the job's
 * stalls those before its last turn that came to an end; the later ones are deaths in a row. None where it is not told or not a number.
 */
export const jobDataSchema = z.object({
  customerId: z.string().min(1),
  survivedStalls: z.int().nonnegative().catch(0),
});

export type JobData = Partial<z.output<typeof jobDataSchema>> & { customerId: string };

/**
 * The name under which a customer can be in the queue once.
 * Customer ids are arbitrary text: BullMQ takes ':' here, but makes the id part of a Redis key, and its length is
 * unbounded. A hash is 43 safe characters whatever the customer is called.
 */
export function deduplicationId(customerId: string): string {
  return createHash('sha256').update(customerId).digest('base64url');
}
