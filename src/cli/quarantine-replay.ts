/** `quarantine replay`: stored records read and written again. */
import { type Choice, type Left, type Replayed, replayQuarantined } from '../sync/replay-quarantined.ts';
import { failure } from './explain.ts';
import { count, shellWord } from './format.ts';
import { note, plain, say } from './output.ts';
import { inWords } from './quarantine.ts';
import { settings, withDatabase } from './session.ts';

type Options = { id?: string; customer?: string };

/** Replays one record, a customer's or all, and says of each that is refused still why. Fails where none landed. */
export async function replay({ id, customer }: Options): Promise<void> {
  const config = settings('database', 'sync');
  const choice: Choice = id ? { id } : customer === undefined ? 'all' : { customerId: customer };
  const seen = { landed: 0, refused: 0, left: 0 };
  await withDatabase(config, async (db) => {
    for await (const one of replayQuarantined(db, choice, config.sync.KEEP_RAW)) {
      if ('left' in one) seen.left++;
      else if (one.landed) seen.landed++;
      else seen.refused++;
      describe(one);
    }
  });
  if (seen.landed + seen.refused + seen.left === 0) {
    throw failure(`${nothing(id, customer)} calico-sync quarantine list --all shows what there was.`);
  }
  if (seen.landed === 0) throw failure(`Nothing landed: ${summary(seen)}.`);
  say(`${summary(seen)}.`);
}

function nothing(id: string | undefined, customer: string | undefined): string {
  if (id) return `No unresolved record has the id ${id}.`;
  return `No record${customer === undefined ? '' : ` of ${plain(customer)}`} is in quarantine.`;
}

function summary({ landed, refused, left }: { landed: number; refused: number; left: number }): string {
  const skipped = left > 0 ? `; ${count(left, 'customer')} left` : '';
  return `${landed.toLocaleString('en-US')} landed, ${refused.toLocaleString('en-US')} still refused${skipped}`;
}

function describe(one: Replayed | Left): void {
  if (!('left' in one)) {
    if (!one.landed)
      note(`${one.id} of ${plain(one.customerId)} is still refused: ${plain(inWords(one.problems))}`);
    return;
  }
  const name = plain(one.customerId);
  note(
    one.left === 'busy'
      ? `${name} is being synced: its records are left. Next, when it has ended: calico-sync quarantine replay --customer ${shellWord(name)}`
      : `${name} is no longer a customer: its records are left as they are.`,
  );
}
