import { expect, it } from 'vitest';
import { createCloser } from '../../src/app.ts';

it('what was opened last is closed first, one after the other, though one of them fails', async () => {
  const closed: string[] = [];
  const closer = createCloser();
  const add = (name: string, fails = false) =>
    closer.add(async () => {
      closed.push(`${name} begins`);
      await Promise.resolve();
      if (fails) throw new Error(`${name} is stuck`);
      closed.push(`${name} is closed`);
    });
  add('database');
  add('queue', true);
  add('worker');
  await closer.closeAll();
  expect(closed).toEqual([
    'worker begins',
    'worker is closed',
    'queue begins',
    'database begins',
    'database is closed',
  ]);
});

it('nothing is closed twice', async () => {
  let closes = 0;
  const closer = createCloser();
  closer.add(async () => {
    closes++;
  });
  await Promise.all([closer.closeAll(), closer.closeAll()]);
  await closer.closeAll();
  expect(closes).toBe(1);
});
