import { expect, it } from 'vitest';
import { createTestDatabase } from './database.ts';

it('clones databases at the same time, each migrated and none seeing what another holds', async () => {
  const databases = await Promise.all([createTestDatabase(), createTestDatabase(), createTestDatabase()]);
  try {
    const tables = await Promise.all(
      databases.map(async ({ pool }, index) => {
        await pool.query(`CREATE TABLE calico.only_of_${index} ()`);
        const { rows } = await pool.query<{ tablename: string }>(
          `SELECT tablename FROM pg_tables WHERE schemaname = 'calico' AND tablename IN
             ('sync_runs', 'only_of_0', 'only_of_1', 'only_of_2') ORDER BY tablename DESC`,
        );
        return rows.map(({ tablename }) => tablename);
      }),
    );
    expect(tables).toEqual([0, 1, 2].map((index) => ['sync_runs', `only_of_${index}`]));
  } finally {
    await Promise.all(databases.map((database) => database.close()));
  }
});
