/**
 * Every command's words, options and help in one place. What a command does is loaded when it runs, so that help and
 * wrong usage answer in a fifth of a second, and nothing is opened before the words are right.
 */
import { Command, Option } from 'commander';
import { CUSTOMER_STATUSES } from '../db/statuses.ts';
import { duration, id, json, newId, uuid, wholeNumber, withoutValues } from './arguments.ts';
import { addDeadLetters, addQuarantine } from './program-aside.ts';

/** The command line of `calico-sync`. Throws CommanderError for wrong usage, after it has said what is wrong. */
export function createProgram(): Command {
  const program = new Command('calico-sync')
    .description(
      'Keeps your customers’ crypto assets and transactions, as Calico knows them, in your Postgres.',
    )
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(withoutValues(text)) })
    .showHelpAfterError('(calico-sync --help shows every command)')
    .helpCommand(false);
  addServices(program);
  const group = (name: string, description: string) =>
    program.command(name).description(description).helpCommand(false);
  addCustomers(group('customers', 'who is synced'));
  addRuns(program);
  addDiagnosis(program);
  addRemovals(group('removals', 'rows gone at Calico whose removal is held back'));
  addDeadLetters(group('dead-letters', 'what could not go on, and why'));
  addQuarantine(group('quarantine', 'records that could not be read or stored'));
  return program;
}

function addServices(program: Command): void {
  program
    .command('demo')
    .description('sync 538 real Ethereum wallets into an embedded Postgres and show what landed')
    .option('--keep', 'leave it running until Ctrl-C and say how to connect')
    .action(async (options) => (await import('./demo.ts')).runDemo(options));
  program
    .command('migrate')
    .description('bring the database, and a queue on Postgres, up to date')
    .action(async () => (await import('./services.ts')).runMigrate());
  program
    .command('worker')
    .description('sync whoever is due until SIGTERM; it then ends between two pages')
    .action(async () => (await import('./services.ts')).runWorker());
  program
    .command('sandbox')
    .description('a stand-in Calico on this machine, with real transactions or generated ones')
    .option('--port <port>', 'TCP port', wholeNumber(0, 65_535), 4010)
    .option('--customers <n>', 'generate that many customers', wholeNumber(1, 1_000_000))
    .option('--transactions <n>', 'of each generated customer', wholeNumber(0, 10_000_000), 100)
    .option('--seed <n>', 'the same seed generates the same data', wholeNumber(0, 2 ** 31 - 1), 1)
    .action(async (options) => (await import('./services.ts')).runSandbox(options));
}

function addCustomers(customers: Command): void {
  customers
    .command('add')
    .description(
      'add a customer, or replace its credentials and resume it; reads its tokens as JSON from stdin',
    )
    .argument(...id, newId)
    .option(
      '--every <duration>',
      'how often to sync it, such as 15m or 1h (default: SYNC_INTERVAL)',
      duration,
    )
    .action(async (customerId, options) =>
      (await import('./customers.ts')).addCustomers(customerId, options),
    );
  customers
    .command('list')
    .description('every customer with its status and schedule')
    .addOption(new Option('--status <status>', 'only those').choices([...CUSTOMER_STATUSES]))
    .option(...json)
    .action(async (options) => (await import('./customers.ts')).listAll(options));
  customers
    .command('show')
    .description('one customer: schedule, credentials’ end, checkpoints, last run')
    .argument(...id)
    .option(...json)
    .action(async (customerId, options) => (await import('./customer-details.ts')).show(customerId, options));
  customers
    .command('pause')
    .description('stop its schedule; a sync that is running ends at its next page')
    .argument(...id)
    .option('--reason <text>', 'why, for whoever reads it later', 'paused by an operator')
    .action(async (customerId, options) => (await import('./customers.ts')).pause(customerId, options));
  customers
    .command('resume')
    .description('start a paused customer again, at its checkpoint')
    .argument(...id)
    .action(async (customerId) => (await import('./customers.ts')).resume(customerId));
  customers
    .command('remove')
    .description('forget a customer and its tokens; its rows stay')
    .argument(...id)
    .option('--purge', 'remove its rows too')
    .action(async (customerId, options) => (await import('./customers.ts')).remove(customerId, options));
}

function addRuns(program: Command): void {
  program
    .command('sync')
    .description('make a customer due now')
    .argument('[id]', id[1])
    .option('--all', 'every active customer')
    .option('--full', 'read everything again, not only what is new')
    .option('--wait', 'follow the runs to their end and show their receipts')
    .action(async (customerId, options, command: Command) => {
      if ((customerId === undefined) === (options.all !== true)) {
        command.error('error: name one customer, or --all', { exitCode: 2 });
      }
      await (await import('./sync.ts')).requestAndFollow(customerId ?? null, options);
    });
  program
    .command('runs')
    .description('the latest runs and what they did')
    .argument('[id]', id[1])
    .option('--limit <n>', 'how many', wholeNumber(1, 10_000), 20)
    .option(...json)
    .action(async (customerId, options) => (await import('./runs.ts')).list(customerId ?? null, options));
}

function addDiagnosis(program: Command): void {
  program
    .command('why')
    .description('what happened to a customer, what happens next, and the one command that would help')
    .argument(...id)
    .option(...json)
    .action(async (customerId, options) => (await import('./why.ts')).why(customerId, options));
  program
    .command('doctor')
    .description('check everything that a sync needs, each with the next step where it is not well')
    .option('--live <id>', 'compare what Calico answers for this customer with the contract, field by field')
    .option(...json)
    .action(async ({ live, ...options }) => {
      if (live === undefined) await (await import('./doctor.ts')).runDoctor(options);
      else await (await import('./doctor-live.ts')).runDoctorLive(live, options);
    });
}

function addRemovals(removals: Command): void {
  const hold = ['<id>', 'the hold’s id, from removals list', uuid] as const;
  removals
    .command('list')
    .description('what waits for a decision, and why it was held')
    .option('--all', 'decided and superseded ones too')
    .option(...json)
    .action(async (options) => (await import('./removals.ts')).list(options));
  removals
    .command('approve')
    .description('mark the held rows removed, but for those that came back')
    .argument(...hold)
    .action(async (holdId) => (await import('./removals.ts')).approve(holdId));
  removals
    .command('reject')
    .description('keep the held rows, and ask no more about them')
    .argument(...hold)
    .action(async (holdId) => (await import('./removals.ts')).reject(holdId));
}
