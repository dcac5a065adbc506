/** `dead-letters list` and `show`: what could not go on, by cause and one by one. */
import {
  type Cause,
  type DeadLetter,
  type DeadLetterState,
  findDeadLetter,
  listCauses,
  listLetters,
  replayDeadLetters,
  stateOf,
} from '../db/dead-letters.ts';
import { failure } from './explain.ts';
import { count, formatTime, shellWord } from './format.ts';
import { type Colour, paint, plain, say, sayJson, sayTable } from './output.ts';
import { settings, withDatabase } from './session.ts';

type ListOptions = { cause?: string; all?: boolean; json?: boolean };

/** Lists causes, the most frequent first; with a cause its letters, the latest first. */
export async function list({ cause, all = false, json = false }: ListOptions): Promise<void> {
  if (cause !== undefined) return listOne(cause, all, json);
  const causes = await withDatabase(settings('database'), (db) => db.run((orm) => listCauses(orm, all)));
  if (json) return sayJson(causes);
  if (causes.length === 0) return say(all ? 'There are no dead letters.' : 'There are no open dead letters.');
  const now = Date.now();
  const total = causes.reduce((sum, { letters }) => sum + letters, 0);
  for (const one of causes) sayCause(one, total, all, now);
}

function sayCause(one: Cause, total: number, all: boolean, now: number): void {
  const { cause, fault, letters, open, replayable, customers, sample, nextStep, latestId, latestAt } = one;
  const number = (value: number) => value.toLocaleString('en-US');
  const still = all ? `; ${number(open)} open` : '';
  say(
    `${number(letters)} of ${number(total)}: ${paint('red', plain(cause))} (fault: ${plain(fault)}${still})`,
  );
  const named = sample.map((id) => (id === '' ? 'none named' : plain(id))).join(', ');
  const more = customers > sample.length ? ` and ${number(customers - sample.length)} more` : '';
  say(`  customers: ${named}${more}`);
  say(`  latest: ${formatTime(latestAt, now)}, calico-sync dead-letters show ${latestId}`);
  if (nextStep) say(`  to do: ${plain(nextStep)}`);
  if (replayable > 0) say(`  then: calico-sync dead-letters replay --cause ${shellWord(plain(cause))}`);
}

async function listOne(cause: string, all: boolean, json: boolean): Promise<void> {
  const letters = await withDatabase(settings('database'), (db) =>
    db.run((orm) => listLetters(orm, cause, all)),
  );
  if (json) return sayJson(letters.map((letter) => ({ ...letter, state: stateOf(letter) })));
  if (letters.length === 0) {
    return say(`There is no ${all ? '' : 'open '}dead letter of the cause "${plain(cause)}".`);
  }
  const now = Date.now();
  sayTable<DeadLetter>(
    [
      { title: 'id', cell: (letter) => letter.id },
      { title: 'customer', cell: (letter) => letter.customerId },
      { title: 'state', cell: stateOf, colour: (letter) => colourOf(stateOf(letter)) },
      { title: 'created', cell: (letter) => formatTime(letter.createdAt, now) },
    ],
    letters,
    (letter) => letter.reason,
  );
}

function colourOf(state: DeadLetterState): Colour | null {
  if (state === 'open') return 'red';
  return state === 'resolved' ? 'green' : null;
}

/** Shows one letter with its evidence. */
export async function show(id: string, { json }: { json?: boolean }): Promise<void> {
  const { letter, fate } = await withDatabase(settings('database'), (db) =>
    db.run(async (orm) => ({
      letter: await findDeadLetter(orm, id),
      fate: (await replayDeadLetters(orm, { id }, true))[0],
    })),
  );
  if (!letter) throw failure(`There is no dead letter ${id}. calico-sync dead-letters list shows all.`);
  if (json) return sayJson({ ...letter, state: stateOf(letter) });
  const now = Date.now();
  const line = (label: string, value: string) => say(`${label.padEnd(12)}${plain(value)}`);
  const state = stateOf(letter);
  line('customer', letter.customerId === '' ? 'none named' : letter.customerId);
  line('cause', letter.cause);
  say(`${'state'.padEnd(12)}${paint(colourOf(state), state)}`);
  line('reason', letter.reason);
  line('fault', letter.fault);
  line('created', `${formatTime(letter.createdAt, now)} (${letter.createdAt.toISOString()})`);
  for (const [label, at] of [
    ['replayed', letter.replayedAt],
    ['resolved', letter.resolvedAt],
    ['discarded', letter.discardedAt],
  ] as const) {
    if (at) line(label, formatTime(at, now));
  }
  if (letter.runId) line('run', letter.runId);
  if (letter.stream) line('stream', letter.stream);
  if (letter.httpStatus !== null) line('HTTP status', String(letter.httpStatus));
  if (letter.code !== null) line('code', String(letter.code));
  const { nextStep, ...evidence } = letter.evidence;
  for (const [name, value] of Object.entries(evidence)) {
    if (value !== null) line(inWords(name), typeof value === 'string' ? value : JSON.stringify(value));
  }
  if (typeof nextStep === 'string') line('to do', nextStep.replaceAll('<id>', shellWord(letter.customerId)));
  if (state === 'open' && fate?.replayed) line('then', `calico-sync dead-letters replay ${id}`);
  if (state === 'open' && fate?.status === null) line('then', `calico-sync dead-letters discard ${id}`);
}

/** "requestId" as "request id". */
function inWords(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** What a command that changes letters was asked about, in words. */
export function chosenInWords(number: number, cause: string | undefined): string {
  return `${count(number, 'dead letter')}${cause === undefined ? '' : ` of the cause "${plain(cause)}"`}`;
}
