#!/usr/bin/env node
/** The command `calico-sync`: turns whatever went wrong into one sentence and an exit code. */
import './cli/quick-imports.ts';
import { CommanderError } from 'commander';
import { explain, wantsStacks } from './cli/explain.ts';
import { leave, note, quietlyEndWithReader } from './cli/output.ts';
import { createProgram } from './cli/program.ts';
import { ConfigError } from './config.ts';

/** What the shell sees: 2 means that the command line or the settings must change before a second try can work. */
const EXIT = { done: 0, failed: 1, wrongUsage: 2 } as const;

/** Runs one command line and returns its exit code. @param args what follows the command's name */
export async function main(args: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync(args, { from: 'user' });
    return EXIT.done;
  } catch (error) {
    // commander has printed its own errors, help and version by the time it throws.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.wrongUsage;
    return report(error);
  }
}

async function report(error: unknown): Promise<number> {
  note(await explain(error));
  if (wantsStacks() && error instanceof Error) note(error.stack ?? '');
  return error instanceof ConfigError ? EXIT.wrongUsage : EXIT.failed;
}

if (import.meta.main) {
  quietlyEndWithReader();
  // Node's own report of an error that nobody caught prints its properties: in an ioredis error, the AUTH command.
  process.on('uncaughtException', (error) => void report(error).then(leave));
  await leave(await main(process.argv.slice(2)));
}
