/**
 * How one turn of one customer's sync ended. The sync writes what Postgres must know (run, schedule, wait) before it
 * returns an outcome; whoever called it only has to tell the queue.
 */
export type Outcome =
  /** The run is over and its receipt is written; `failed` where the receipt does not hold. */
  | { kind: 'done'; runId: string; status: 'succeeded' | 'partial' | 'failed' }
  /** The run goes on, not before `notBefore`; it holds neither a lease nor a worker's place until then. */
  | {
      kind: 'later';
      runId: string;
      why: 'wait' | 'retry' | 'slice' | 'settle';
      notBefore: Date;
      reason: string;
    }
  /** The run cannot go on; the evidence is in `dead_letters`. `reason` is fit for a person and free of secrets. */
  | { kind: 'dead_lettered'; runId: string; deadLetterId: string; reason: string }
  /** Something of ours failed (a defect, the database); the run is marked, `notBefore` is when it is due again. */
  | { kind: 'failed'; runId: string | null; notBefore: Date; reason: string }
  /** The process is stopping: the run ended between two pages and resumes at its checkpoint. */
  | { kind: 'stopped'; runId: string }
  /** Another worker took the lease; this one wrote nothing after that. */
  | { kind: 'fenced'; runId: string }
  /** Nothing to do: another worker holds the lease, or the customer is unknown, paused or not due. */
  | { kind: 'not_run'; reason: string };
