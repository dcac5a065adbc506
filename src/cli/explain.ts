/** Errors for people: one sentence and the next step. */
import { readEnvironment } from '../config.ts';
import { plain } from './output.ts';

/** A failure that says everything in its own words: what happened and what to do. */
export function failure(sentence: string): Error {
  const error = new Error(sentence);
  error.name = SPOKEN;
  return error;
}

const SPOKEN = 'CommandFailed';
/** Names of errors whose message is a sentence with its next step already. */
const CLEAR = new Set([SPOKEN, 'ConfigError', 'NotMigratedError']);

/** The sentence to print for an error; never a stack, a statement or a secret. */
export async function explain(error: unknown): Promise<string> {
  if (!(error instanceof Error)) return 'calico-sync failed for a reason that it cannot name.';
  if (CLEAR.has(error.name)) return error.message;
  // Loaded only now: drizzle takes longer to load than the rest of the command.
  const { DatabaseError, toDatabaseError } = await import('../db/errors.ts');
  const translated = toDatabaseError(error);
  if (translated instanceof DatabaseError) {
    return `${sentence(translated.message)} ${NEXT_STEPS[translated.kind]}`;
  }
  if (error.message.startsWith('The queue')) return withQueueStep(error.message);
  return `${sentence(`calico-sync failed: ${error.message}`)} LOG_LEVEL=debug shows where.`;
}

const NEXT_STEPS = {
  unavailable: 'Check DATABASE_URL and that the server is up.',
  conflict: 'Somebody else held the rows; try again.',
  data: 'Check what was entered; LOG_LEVEL=debug shows where it was refused.',
  schema: 'Run `calico-sync migrate`.',
  other: 'Check DATABASE_URL and the rights of its user.',
} as const;

/** Some of the queue's sentences bring their next step, the unreachable one does not. */
function withQueueStep(message: string): string {
  return message.includes('calico-sync ')
    ? message
    : `${sentence(message)} Check QUEUE_URL and that the server is up.`;
}

/** Text from an error as one line that ends with a full stop. */
export function sentence(text: string): string {
  const line = plain(text.trim());
  return /[.!?]$/.test(line) ? line : `${line.replace(/:$/, '')}.`;
}

/** Whether LOG_LEVEL asks for stacks. Never throws: it is asked when something has failed, perhaps the reading itself. */
export function wantsStacks(): boolean {
  try {
    const level = readEnvironment()['LOG_LEVEL'];
    return level === 'debug' || level === 'trace';
  } catch {
    return false;
  }
}
