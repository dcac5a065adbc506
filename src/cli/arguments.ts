/** What the words after a command may be. Wrong ones end it with exit code 2 before anything is opened. */
import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../config.ts';

export const id = ['<id>', 'the customer’s id at your place, as you added it'] as const;
export const json = ['--json', 'one JSON document instead of a table'] as const;

/** commander quotes what it does not expect. It may be a token that was meant for stdin, and stderr is often kept. */
export function withoutValues(text: string): string {
  return text
    .replace(/^(error: too many arguments .* but got \d+): .*$/m, '$1')
    .replace(/^(error: unknown option '[^=\s]{1,40})[^\n]*'/m, "$1'")
    .replace(/^(error: command-argument value) '[\s\S]{60,}' (is invalid for argument)/m, '$1 $2');
}

/** A whole number from `least` to `most`. */
export function wholeNumber(least: number, most: number) {
  return (text: string): number => {
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (number >= least && number <= most) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

/** Anything that a person can read and a terminal can show. */
export function newId(text: string): string {
  if (text.trim() === text && text.length > 0 && text.length <= 500 && !/[\p{Cc}\p{Cf}]/u.test(text))
    return text;
  throw new InvalidArgumentError(
    'It must have 1 to 500 characters, none of them invisible or a space at an end.',
  );
}

/** A duration of a second or more, in milliseconds. */
export function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms !== null && ms >= 1000) return ms;
  throw new InvalidArgumentError('It must be a duration such as 90s, 15m, 1h or 7d, and at least 1s.');
}

/** An id that a listing shows. */
export function uuid(text: string): string {
  if (/^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text)) return text;
  throw new InvalidArgumentError('It must be an id as the list shows it.');
}
