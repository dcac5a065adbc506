/** `dead-letters replay` and `discard`. */
import { type Choice, discardDeadLetters, type Replay, replayDeadLetters } from '../db/dead-letters.ts';
import { chosenInWords } from './dead-letters.ts';
import { failure } from './explain.ts';
import { count, shellWord } from './format.ts';
import { note, plain, say } from './output.ts';
import { settings, withDatabase } from './session.ts';

type Options = { cause?: string; dryRun?: boolean };

/**
 * Makes the letters' customers due again and says who cannot be. The tick of a worker takes them up within seconds.
 * Fails where nobody could be replayed.
 */
export async function replay(id: string | null, { cause, dryRun = false }: Options): Promise<void> {
  const replays = await withDatabase(settings('database'), (db) =>
    db.transaction(({ orm }) => replayDeadLetters(orm, choiceOf(id, cause), dryRun)),
  );
  if (replays.length === 0) throw nothingChosen(id, cause);
  const going = replays.filter(({ replayed }) => replayed);
  const customers = new Set(going.map(({ customerId }) => customerId)).size;
  const lifted = going.filter(({ status }) => status !== 'active').length;
  for (const [reason, left] of Map.groupBy(
    replays.filter(({ replayed }) => !replayed),
    whyLeft,
  )) {
    const named = left.slice(0, MOST_NAMED).map(({ customerId }) => plain(customerId) || 'no customer');
    const more = left.length > MOST_NAMED ? ` and ${left.length - MOST_NAMED} more` : '';
    note(`Left as they are, ${named.join(', ')}${more}: ${forOne(reason, left)}`);
  }
  if (going.length === 0) throw failure(`None of ${chosenInWords(replays.length, cause)} can be replayed.`);
  const active =
    lifted > 0
      ? `; ${lifted} of them ${lifted === 1 ? 'was' : 'were'} stopped and ${dryRun ? 'would be' : lifted === 1 ? 'is' : 'are'} active again`
      : '';
  say(
    `${dryRun ? 'Would replay' : 'Replayed'} ${chosenInWords(going.length, cause)}: ${count(customers, 'customer')} due now${active}.`,
  );
}

const MOST_NAMED = 5;

/** A command that can be copied where it is about one customer. */
function forOne(reason: string, [only, second]: readonly Replay[]): string {
  if (!only || second) return reason;
  return reason.replace('<id>', shellWord(only.customerId)).replace('<letter>', only.id);
}

function whyLeft({ customerId, status }: Replay): string {
  if (status === 'paused') return 'paused. Next: calico-sync customers resume <id>';
  if (status === 'reauth_required') {
    return 'Calico refused their credentials. Next: calico-sync customers add <id> with new tokens';
  }
  return customerId === ''
    ? 'it names nobody. Next: calico-sync dead-letters discard <letter>'
    : 'the customer was removed. Next: calico-sync dead-letters discard <letter>, or customers add <id>';
}

/** Lays letters aside for good. */
export async function discard(id: string | null, { cause, dryRun = false }: Options): Promise<void> {
  const discarded = await withDatabase(settings('database'), (db) =>
    db.run((orm) => discardDeadLetters(orm, choiceOf(id, cause), dryRun)),
  );
  if (discarded === 0) throw nothingChosen(id, cause);
  say(`${dryRun ? 'Would discard' : 'Discarded'} ${chosenInWords(discarded, cause)}.`);
}

function choiceOf(id: string | null, cause: string | undefined): Choice {
  return id === null ? { cause: cause ?? '' } : { id };
}

function nothingChosen(id: string | null, cause: string | undefined): Error {
  const what = id === null ? `dead letter of the cause "${plain(cause ?? '')}"` : `dead letter ${id}`;
  return failure(`There is no open ${what}. calico-sync dead-letters list shows what there is.`);
}
