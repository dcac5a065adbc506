/** `doctor --live`: each answer beside the contract, and the line to change. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { position, sends, transaction } from '../support/records.ts';
import { createInstallation } from './installation.ts';

const source = readFileSync(fileURLToPath(new URL('../../src/calico/contract.ts', import.meta.url)), 'utf8');
const lineThatHas = (text: string) => {
  const found = source.split('\n').flatMap((line, index) => (line.includes(text) ? [index + 1] : []));
  expect(found, `lines with "${text}"`).toHaveLength(1);
  return found[0];
};

type Found = { kind: string; path: string; line: number };
type Look = { endpoint: string; records: number | null; problem: string | null; findings: Found[] };

test('says what is missing, new or differently typed, how often, and which line to change; and writes no row', async () => {
  const at = await createInstallation({ settings: { CALICO_PAGE_LIMIT: '100' } });
  at.data.add('assets', 'alice', position('BTC', '1', { apy: '3' }));
  at.data.add(
    'transactions',
    'alice',
    ...sends(2, () => ({ fees: { items: [{ asset_symbol: 'USD', quantity: '1' }] } })),
    transaction('send', 'odd', { kind: 'stake', output: { asset_symbol: 'ETH', amount: { units: 1 } } }),
  );
  const [, refreshToken] = await at.add('alice');
  at.sandbox.faults.add({
    endpoint: 'refreshAssets',
    answer: { status: 202, body: { data: { job: 'j1' }, errors: [{ provider_id: 'x' }] } },
  });
  await at.rows('UPDATE calico.credentials SET access_expires_at = now()');

  const { code, stdout, stderr } = await at.run('doctor --live alice --json');
  expect(code).toBe(1);
  expect(stderr).toMatch(/^refreshAssets, transactions: not what the contract says\. Next: /);
  const { endpoints }: { endpoints: Look[] } = JSON.parse(stdout);
  const byEndpoint = Object.fromEntries(endpoints.map((look) => [look.endpoint, look]));
  const findings = (endpoint: string) =>
    byEndpoint[endpoint]?.findings
      .filter(({ kind }) => kind !== 'never_there')
      .map(({ kind, path, line }) => [kind, path, line]);
  const record = 'data.transactions[]';
  expect(findings('transactions')).toEqual([
    ['missing_field', `${record}.fees.items[].amount`, lineThatHas('may be negative: a rebate')],
    ['type_changed', `${record}.output.amount`, lineThatHas('  amount,')],
    ['unknown_value', `${record}.kind`, lineThatHas('// the discriminator;')],
    ['unknown_field', `${record}.fees.items[].quantity`, lineThatHas('const feeItem =')],
  ]);
  expect(findings('assets')).toEqual([
    ['unknown_field', 'data.assets[].apy', lineThatHas('const assetPosition =')],
  ]);
  expect(findings('refreshAssets')).toEqual([
    ['missing_field', 'errors[].cause', lineThatHas('const providerError =')],
    ['unknown_field', 'data.job', lineThatHas('data: z.looseObject({ status: unread')],
  ]);
  expect(findings('refreshTransactions')).toEqual([]);
  expect(findings('token')).toEqual([]);
  expect(byEndpoint['assets']).toMatchObject({ records: 1, problem: null });
  expect(byEndpoint['transactions']).toMatchObject({ records: 3, problem: null });
  expect(byEndpoint['refreshAssets']?.problem).toMatch(/^Calico’s answer cannot be read /);
  expect(byEndpoint['transactions']?.findings).toContainEqual(
    expect.objectContaining({
      kind: 'never_there',
      path: `${record}.description`,
      count: 3,
      line: lineThatHas('  description: text,'),
    }),
  );

  // The refreshed token is stored as usual, and nothing else is.
  const second = await at.run('doctor --live alice');
  expect(second.stdout).toContain('refreshAssets: as the contract says.');
  expect(second.stdout).toMatch(/^transactions: 4 differences, 3 records looked at\.$/m);
  expect(second.stdout).toMatch(
    new RegExp(
      `^ +new +data\\.assets\\[\\]\\.apy +1 +src/calico/contract\\.ts:${lineThatHas('const assetPosition =')}\\n +"3"$`,
      'm',
    ),
  );
  const asked = at.sandbox.requests.map(({ endpoint }) => endpoint);
  const each = ['refreshAssets', 'refreshTransactions', 'assets', 'transactions'];
  expect(asked).toEqual(['token', ...each, ...each]);
  expect(`${stdout}${second.stdout}`).not.toContain(refreshToken);
  for (const table of [
    'sync_runs',
    'asset_positions',
    'send_transactions',
    'quarantined_records',
    'contract_drift',
  ]) {
    expect(await at.rows(`SELECT FROM calico.${table}`), table).toEqual([]);
  }
});

test('a customer whose answers are as the contract says is no failure; one that Calico refuses is, in its words', async () => {
  const at = await createInstallation();
  at.data.add('assets', 'alice', position('BTC', '1'));
  await at.add('alice');
  expect(await at.run('doctor --live alice')).toMatchObject({ code: 0, stderr: '' });

  at.sandbox.faults.add({ endpoint: 'assets', answer: { bodyCode: 602 } });
  const refused = await at.run('doctor --live alice');
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /^assets: no answer to compare\. Next: ask the customer to authorize it, then calico-sync customers add alice\n$/,
    ),
  });
  expect(refused.stdout).toMatch(/^assets: the customer has not authorized this access \(/m);
  expect(refused.stdout).toMatch(/^transactions: as the contract says, 0 records looked at\.$/m);

  at.sandbox.clearRequests();
  await at.rows('UPDATE calico.credentials SET access_expires_at = now()');
  at.sandbox.faults.add({ endpoint: 'token', answer: { status: 400, body: { error: 'invalid_grant' } } });
  const revoked = await at.run('doctor --live alice');
  expect(revoked.stdout).toMatch(/^token: Calico no longer accepts the customer’s credentials/);
  expect(at.sandbox.requests.map(({ endpoint }) => endpoint)).toEqual(['token']);

  await at.rows('DELETE FROM calico.credentials');
  expect(await at.run('doctor --live alice')).toEqual({
    code: 1,
    stdout: '',
    stderr: 'There are no tokens for alice. Next: calico-sync customers add alice\n',
  });
  expect(await at.run('doctor --live bob')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^There is no customer bob\./),
  });
});
