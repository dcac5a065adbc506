import type { Database } from '../db/client.ts';
import { type Lease, renewLease } from '../db/leases.ts';

/** A lease that is kept while it is used. */
export type KeptLease = {
  /** Aborted when the process is to stop or the lease is lost: ends requests under way. */
  signal: AbortSignal;
  isLost(): boolean;
  /** Stops renewing; the lease itself ends with the run's next change, or by itself. */
  release(): void;
};

/**
 * Renews a lease three times in its life. It is lost when Postgres says so; while Postgres does not answer it is only
 * unknown, and the epoch guards every commit all the same.
 */
export function keepLease(db: Database, lease: Lease, leaseMs: number, stop: AbortSignal): KeptLease {
  const lost = new AbortController();
  const timer = setInterval(() => {
    db.run((orm) => renewLease(orm, lease, leaseMs)).then(
      (held) => held || lost.abort(),
      () => {},
    );
  }, leaseMs / 3);
  return {
    signal: AbortSignal.any([stop, lost.signal]),
    isLost: () => lost.signal.aborted,
    release: () => clearInterval(timer),
  };
}
