import type { Logger } from 'pino';

export interface Outage {
  failed(error: unknown): void;
  over(): void;
}

/**
 * Logs an outage once when it begins and once when it is over, however often it is felt in between: a cut connection
 * made BullMQ's worker report 5,000 errors in two seconds.
 * Only messages are logged. An ioredis error carries the command it answers, and that of AUTH is the password.
 */
export function outageLog(log: Logger, what: string): Outage {
  let failures = 0;
  return {
    failed(error) {
      failures += 1;
      if (failures === 1) log.warn({ reason: messageOf(error) }, `${what}: failing`);
    },
    over() {
      if (failures > 0) log.info({ failures }, `${what}: working again`);
      failures = 0;
    },
  };
}

/** An error's message without the properties, the cause and the stack that may say more than they should. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message || error.name : String(error);
}
