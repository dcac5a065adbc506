/**
 * Runs once before all test files and once after them: servers, the migrated template database, and what the tests
 * are told about both. `inject('postgresUrl')` and the like read it; tests use database.ts and queue-backends.ts instead.
 */
import { randomBytes } from 'node:crypto';
import type { TestProject } from 'vitest/node';
import { createTemplate, dropTestDatabases } from './database-template.ts';
import { findOrStartPostgres, findOrStartRedis } from './servers.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A server on which databases may be created: the run's own or one shared with others. */
    postgresUrl: string;
    /** Begins the name of every database of this run; nobody else's begins so. */
    databasePrefix: string;
    /** Null where no Redis can be had. */
    redisUrl: string | null;
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const undo: (() => Promise<void>)[] = [];
  const teardown = async () => {
    for (let step = undo.pop(); step; step = undo.pop()) await step();
  };
  try {
    const postgres = await findOrStartPostgres();
    undo.push(postgres.stop);
    const redis = await findOrStartRedis();
    if (redis) undo.push(redis.stop);

    const databasePrefix = `calico_test_${randomBytes(4).toString('hex')}`;
    undo.push(() => dropTestDatabases(postgres.url, databasePrefix));
    await createTemplate(postgres.url, databasePrefix);

    project.provide('postgresUrl', postgres.url);
    project.provide('databasePrefix', databasePrefix);
    project.provide('redisUrl', redis?.url ?? null);
    return teardown;
  } catch (error) {
    await teardown();
    throw error;
  }
}
