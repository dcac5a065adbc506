/** The next page is asked for at once and read when the one before it is on its way to Postgres. */
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { beginAhead } from '../../src/sync/ahead.ts';

test('asks at once, and reads only after what is more urgent', async () => {
  const done: string[] = [];
  const sent = Promise.withResolvers<void>();
  const begin = async (turn: Promise<void>) => {
    done.push('asked');
    await turn;
    done.push('read');
  };
  const begun = await beginAhead({ begin, after: sent.promise });
  await setImmediate();
  expect(done).toEqual(['asked']);
  sent.resolve();
  await setImmediate().then(() => done.push('the loop came round'));
  await begun.result();
  expect(done).toEqual(['asked', 'the loop came round', 'read']);
});

test('work that fails is over, whoever asks for its result', async () => {
  const failing = async () => {
    throw new Error('no page');
  };
  const begun = await beginAhead({ begin: failing, after: Promise.resolve() });
  await begun.ended;
  await expect(begun.result()).rejects.toThrow('no page');
});
