/** Analysts read the data tables and the view over them, nothing of the worker's own, and change nothing. */
import { expect, test } from 'vitest';
import { DATA_TABLES } from '../support/look.ts';
import { position, sends } from '../support/records.ts';
import { createWorld } from '../support/world.ts';

test('the role calico_analyst reads what Calico said, and neither customers nor credentials nor evidence', async () => {
  const world = await createWorld();
  world.data.add('assets', 'alice', position('BTC', '1'));
  world.data.add('transactions', 'alice', ...sends(2));
  await world.addCustomer('alice');
  await world.sync('alice');
  const all = await world.rows<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relnamespace = 'calico'::regnamespace AND relkind IN ('r', 'v')`,
  );
  const analyst = await world.database.pool.connect();
  await analyst.query('SET ROLE calico_analyst');

  const readable: string[] = [];
  for (const { name } of all) {
    const read = analyst.query(`SELECT FROM calico.${name}`);
    if (await read.then(() => true, isDenied)) readable.push(name);
  }
  expect(readable.sort()).toEqual([...DATA_TABLES, 'transactions'].sort());
  expect((await analyst.query('SELECT FROM calico.transactions')).rowCount).toBe(2);

  for (const table of DATA_TABLES) {
    for (const change of [
      `DELETE FROM calico.${table}`,
      `UPDATE calico.${table} SET raw = NULL`,
      `TRUNCATE calico.${table}`,
    ]) {
      await expect(analyst.query(change)).rejects.toMatchObject({ code: '42501' });
    }
  }
  await expect(analyst.query('CREATE TABLE calico.mine ()')).rejects.toMatchObject({ code: '42501' });
  await analyst.query('RESET ROLE');
  analyst.release();
});

function isDenied(error: { code?: string }): false {
  expect(error.code).toBe('42501');
  return false;
}
