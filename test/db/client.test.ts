/** What a transaction is, and one whose commit goes with its last statements. */
import { expect, onTestFinished, test } from 'vitest';
import { type DatabaseOptions, openDatabase, type Transaction } from '../../src/db/client.ts';
import { isRefused } from '../../src/db/errors.ts';
import { createWorld } from '../support/world.ts';

async function open(options: Pick<DatabaseOptions, 'onStatement'> = {}) {
  const world = await createWorld();
  const db = openDatabase({ url: world.database.url, maxConnections: 1, ...options });
  onTestFinished(() => db.close());
  const note = (tx: Transaction, id: string) =>
    tx.query('note', 'INSERT INTO calico.customers (customer_id) VALUES ($1)', [id]);
  const noted = async () =>
    (await world.rows<{ id: string }>('SELECT customer_id AS id FROM calico.customers ORDER BY 1')).map(
      ({ id }) => id,
    );
  return { db, note, noted };
}

class NotThis extends Error {}
const refuse = (tx: Transaction) =>
  tx.query('refuse', 'SELECT calico.refuse($1)', ['not this'], (error) =>
    isRefused(error) ? new NotThis() : null,
  );

test('what goes with its commit is there when the transaction is done', async () => {
  const { db, note, noted } = await open();

  await db.transaction(async (tx) => tx.commitWith(Promise.all([note(tx, 'one'), note(tx, 'two')])));

  expect(await noted()).toEqual(['one', 'two']);
});

test('where one of the statements refuses, nothing is there, and all is told as what that means', async () => {
  const { db, note, noted } = await open();

  const transaction = db.transaction(async (tx) => {
    const behind = [note(tx, 'one'), refuse(tx), note(tx, 'two')];
    tx.commitWith(Promise.all(behind.toReversed()));
  });

  await expect(transaction).rejects.toThrow(NotThis);
  expect(await noted()).toEqual([]);
  await db.transaction(async (tx) => void (await note(tx, 'the connection goes on')));
  expect(await noted()).toHaveLength(1);
});

test('what a refusal means is told of the statement that refused, not of those behind it', async () => {
  const { db, note, noted } = await open({ onStatement: () => {} });
  const other = (tx: Transaction) => tx.query('other', 'SELECT 1', [], () => new Error('something else'));

  const transaction = db.transaction(async (tx) => {
    refuse(tx).catch(() => {});
    tx.commitWith(Promise.all([note(tx, 'one'), other(tx)].toReversed()));
  });

  await expect(transaction).rejects.toThrow(NotThis);
  expect(await noted()).toEqual([]);
});

test('a statement that comes after the commit does not become one of its own', async () => {
  const { db, note, noted } = await open();

  const transaction = db.transaction(async (tx) =>
    tx.commitWith(note(tx, 'one').then(() => note(tx, 'late'))),
  );

  await expect(transaction).rejects.toThrow('the transaction is over');
  expect(await noted()).toEqual(['one']);
});

test('a statement that waited sees what it waited for, whatever the server’s default is', async () => {
  const world = await createWorld();
  const url = new URL(world.database.url);
  url.searchParams.set('options', '-c default_transaction_isolation=serializable');
  const db = openDatabase({ url: url.href, maxConnections: 1 });
  onTestFinished(() => db.close());

  const level = 'SELECT current_setting($1) AS level';
  const shown = await db.transaction((tx) => tx.query('level', level, ['transaction_isolation']));

  expect(shown).toEqual([{ level: 'read committed' }]);
});
