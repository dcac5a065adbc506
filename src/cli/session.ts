/** What every command starts with: its settings, and the database for as long as it works. */
import { openMigratedDatabase } from '../app.ts';
import { type Config, ConfigError, readConfig, readEnvironment, type SectionName } from '../config.ts';
import type { Database } from '../db/client.ts';
import { createLog } from '../ops/log.ts';

/** The settings that a command needs. @throws ConfigError with every fault, before anything is opened */
export function settings<Names extends SectionName>(...names: Names[]): Config<Names> {
  return readConfig(environment(), ...names);
}

function environment(): ReturnType<typeof readEnvironment> {
  try {
    return readEnvironment();
  } catch (error) {
    // No right to read it, or a directory: what Docker makes of a file to mount that is not there.
    throw new ConfigError([`.env cannot be read (${error instanceof Error ? error.message : error})`]);
  }
}

/** A command says what happens in its own words; log lines are the worker's. */
export const commandLog = createLog('silent');

/** Opens the database for one command and closes it, whatever becomes of the command. */
export async function withDatabase<T>(
  config: Config<'database'>,
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const db = await openMigratedDatabase(config, commandLog);
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}
