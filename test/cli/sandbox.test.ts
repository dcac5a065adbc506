import { expect, it } from 'vitest';
import { startSandbox } from '../../src/sandbox/server.ts';
import { commandWith, start } from './command.ts';
import { stop } from './installation.ts';

it('sandbox says how to use it, serves what it was asked for, and ends at SIGTERM', async () => {
  const sandbox = start({}, 'sandbox --port 0 --customers 3 --transactions 5 --seed 7');
  await sandbox.prints('Ctrl-C ends it.');
  const said = sandbox.output();
  expect(said).toMatch(/export CALICO_CLIENT_SECRET=\S+/);
  const tokensUrl = /curl -s -X POST (\S+) \| calico-sync customers add customer-0001/.exec(said)?.[1] ?? '';
  const apiUrl = /CALICO_API_URL=(\S+)/.exec(said)?.[1];
  const tokens = (await (await fetch(tokensUrl, { method: 'POST' })).json()) as { access_token: string };
  const page = await fetch(`${apiUrl}/transactions`, {
    headers: { authorization: `Bearer ${tokens.access_token}` },
  });
  expect((await page.json()) as object).toMatchObject({ data: { transactions: { length: 5 } } });
  expect(await stop(sandbox)).toMatchObject({ code: 0, stderr: '' });
});

it('sandbox says that its port is taken', async () => {
  await using taken = await startSandbox();
  const { code, stderr } = await commandWith({})(`sandbox --port ${taken.port}`);
  expect(stderr).toBe(`Port ${taken.port} is taken. Next: calico-sync sandbox --port <another>\n`);
  expect(code).toBe(1);
});
