/** Words, options and help of the commands for what was set aside: dead letters and quarantined records. */
import type { Command } from 'commander';
import { id, json, uuid, wholeNumber } from './arguments.ts';

const letterId = ['<id>', 'the dead letter’s id', uuid] as const;
const recordId = ['<id>', 'the quarantined record’s id', uuid] as const;
const cause = ['--cause <cause>', 'every open one of this cause, as the list names it'] as const;
const dryRun = ['--dry-run', 'say what would happen and change nothing'] as const;

/** `dead-letters …` */
export function addDeadLetters(letters: Command): void {
  letters
    .command('list')
    .description('what could not go on, by cause')
    .option('--cause <cause>', 'one by one those of this cause')
    .option('--all', 'those that were replayed, resolved or discarded too')
    .option(...json)
    .action(async (options) => (await import('./dead-letters.ts')).list(options));
  letters
    .command('show')
    .description('one dead letter with its evidence')
    .argument(...letterId)
    .option(...json)
    .action(async (letter, options) => (await import('./dead-letters.ts')).show(letter, options));
  letters
    .command('replay')
    .description('make the customers due again, also those that were stopped for want of rights')
    .argument('[id]', letterId[1], uuid)
    .option(...cause)
    .option(...dryRun)
    .action(async (letter, options, command: Command) => {
      requireOne(command, [letter, options.cause], 'name one dead letter, or --cause');
      await (await import('./dead-letter-changes.ts')).replay(letter ?? null, options);
    });
  letters
    .command('discard')
    .description('lay them aside for good; their customers stay as they are')
    .argument('[id]', letterId[1], uuid)
    .option(...cause)
    .option(...dryRun)
    .action(async (letter, options, command: Command) => {
      requireOne(command, [letter, options.cause], 'name one dead letter, or --cause');
      await (await import('./dead-letter-changes.ts')).discard(letter ?? null, options);
    });
}

/** `quarantine …` */
export function addQuarantine(quarantine: Command): void {
  quarantine
    .command('list')
    .description('records that could not be read or stored, the latest first')
    .option('--customer <id>', 'only those of this customer')
    .option('--all', 'those that are resolved too')
    .option('--limit <n>', 'how many', wholeNumber(1, 100_000), 100)
    .option(...json)
    .action(async (options) => (await import('./quarantine.ts')).list(options));
  quarantine
    .command('show')
    .description('one record: its text as it came, and what is wrong with it')
    .argument(...recordId)
    .option(...json)
    .action(async (record, options) => (await import('./quarantine.ts')).show(record, options));
  quarantine
    .command('replay')
    .description('read and write them again with what this version knows')
    .argument('[id]', recordId[1], uuid)
    .option('--customer <id>', `all of one customer: ${id[1]}`)
    .option('--all', 'all of every customer')
    .action(async (record, options, command: Command) => {
      requireOne(command, [record, options.customer, options.all], 'name one record, --customer or --all');
      await (await import('./quarantine-replay.ts')).replay({ id: record, ...options });
    });
}

function requireOne(command: Command, choices: readonly unknown[], wanted: string): void {
  if (choices.filter((choice) => choice !== undefined).length === 1) return;
  command.error(`error: ${wanted}`, { exitCode: 2 });
}
