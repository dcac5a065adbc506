/**
 * What concerns every worker at once: the budget of requests, and the pause when Calico told one of us to wait
 * (promise 10). Each request of a turn goes through here.
 */
import type { Logger } from 'pino';
import type { CalicoClient } from '../calico/client.ts';
import type { Endpoint } from '../calico/contract.ts';
import { CalicoError, type Failure } from '../calico/errors.ts';
import type { Limiter } from '../calico/limiter.ts';
import { RESPONSE_RULES, saysOfCalico, situationOf, waitMs } from '../calico/response-codes.ts';
import type { Database } from '../db/client.ts';
import { type FleetPause, openFleet, pauseFleet, readFleetPause, readTroubleMs } from '../db/fleet-pause.ts';
import type { Lease } from '../db/leases.ts';

export type FleetOptions = {
  db: Database;
  limiter: Limiter;
  log: Logger;
  now: () => number;
  random: () => number;
  /** Even where Calico says later, one customer asks after it. */
  maxWaitMs: number;
  /** How long "no pause" is believed before Postgres is asked again; twice as long while waiting for the budget. */
  lookEveryMs?: number;
};

export type Fleet = {
  /**
   * The client of one turn. A request waits for its place in the budget, and is not sent while the fleet is paused,
   * unless the turn is the probe. Its answer begins, prolongs or ends the pause.
   * @throws FleetPausedError, and what the client throws. `signal` ends the waiting.
   */
  clientFor(client: CalicoClient, turn: Lease & { isProbe: boolean }, signal: AbortSignal): CalicoClient;
};

/** The request was not sent: everybody waits, and this turn with them. */
export class FleetPausedError extends Error {
  readonly leftMs: number;

  constructor({ reason, leftMs }: FleetPause) {
    super(`all workers wait: ${reason}`);
    this.name = 'FleetPausedError';
    this.leftMs = leftMs;
  }
}

const LOOK_EVERY_MS = 1_000;

/** One for each process: what one turn hears stops its other turns at their next request. */
export function createFleet(options: FleetOptions): Fleet {
  const { db, limiter, log, now, random, maxWaitMs, lookEveryMs = LOOK_EVERY_MS } = options;
  let openSeenAtMs = Number.NEGATIVE_INFINITY;
  let looking: Promise<FleetPause | null> | null = null;
  let pausing: Promise<void> = Promise.resolve();

  /** A clock that was set back since knows nothing. */
  const isKnownOpen = (sinceMs: number) => {
    const ageMs = now() - openSeenAtMs;
    return ageMs >= 0 && ageMs < sinceMs;
  };

  /** A pause that is being written down is one already; a look that began before it says nothing. */
  async function look(): Promise<FleetPause | null> {
    for (;;) {
      const latest = pausing;
      await latest;
      if (isKnownOpen(lookEveryMs)) return null;
      looking ??= db.run(readFleetPause).finally(() => {
        looking = null;
      });
      const pause = await looking;
      if (latest !== pausing) continue;
      openSeenAtMs = pause ? Number.NEGATIVE_INFINITY : now();
      return pause;
    }
  }

  async function writePause(failure: Failure): Promise<void> {
    const situation = situationOf(failure);
    const { sentence } = RESPONSE_RULES[situation][failure.endpoint];
    const reason = `${sentence} (${failure.detail})`;
    const delayMs = await db.transaction(async ({ orm }) => {
      const waited = await readTroubleMs(orm);
      const delay = Math.min(maxWaitMs, waitMs(waited, failure.retryAfterMs, random));
      await pauseFleet(orm, { situation: String(situation), reason, delayMs: delay });
      return delay;
    });
    log.warn({ situation, delayMs }, 'Calico told us to wait; all workers do');
  }

  /** Never rejects: the failure that was heard is what the caller has to tell. */
  function pause(failure: Failure): Promise<void> {
    openSeenAtMs = Number.NEGATIVE_INFINITY;
    const written = writePause(failure).catch((err: unknown) => {
      log.warn({ err }, 'the pause could not be written; the other workers will be told the same by Calico');
    });
    pausing = Promise.all([pausing, written]).then(() => {});
    return pausing;
  }

  /** Never rejects: the answer that was heard must not be lost for it. Another probe will ask. */
  async function open({ customerId, epoch }: Lease): Promise<void> {
    try {
      if (await db.run((orm) => openFleet(orm, customerId, epoch)))
        log.info({ customerId }, 'the pause is over; all workers go on');
    } catch (err) {
      log.warn({ err, customerId }, 'that the pause is over could not be written; the next probe asks again');
    }
  }

  return {
    clientFor(client, turn, signal) {
      let isProbe = turn.isProbe;
      const hear = async (endpoint: Endpoint, failure: Failure | null) => {
        const said = saysOfCalico(endpoint, failure);
        if (failure && said === 'wait') await pause(failure);
        if (said === null || !isProbe) return;
        isProbe = false;
        if (said === 'works') await open(turn);
      };
      const mayAsk = async () => {
        const paused = isProbe ? null : await look();
        if (paused) throw new FleetPausedError(paused);
      };
      return {
        async send(request) {
          await mayAsk();
          await limiter.acquire(signal);
          // What is granted should be on its way at once: how evenly requests arrive is what Calico goes by.
          if (!isKnownOpen(2 * lookEveryMs)) await mayAsk();
          try {
            const answer = await client.send(request);
            await hear(request.endpoint, null);
            return answer;
          } catch (error) {
            if (error instanceof CalicoError) await hear(request.endpoint, error.failure);
            throw error;
          }
        },
      };
    },
  };
}
