import { type Logger, pino } from 'pino';
import { toDatabaseError } from '../db/errors.ts';

/**
 * JSON lines on stdout. Errors are logged as name and message; drizzle's, whose message holds every bound parameter, as
 * what they mean; stacks only at `debug`.
 */
export function createLog(level: string): Logger {
  const withStack = level === 'debug' || level === 'trace';
  return pino({ level, base: null, serializers: { err: (error: unknown) => describe(error, withStack) } });
}

function describe(error: unknown, withStack: boolean): object {
  const safe = toDatabaseError(error);
  if (!(safe instanceof Error)) return { name: typeof safe };
  return { name: safe.name, message: safe.message, ...(withStack ? { stack: safe.stack } : {}) };
}
