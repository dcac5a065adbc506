/** What a dead letter holds, and what ends it. */
import { expect, test } from 'vitest';
import { causeOf } from '../../src/calico/causes.ts';
import { RESPONSE_RULES, type Situation } from '../../src/calico/response-codes.ts';
import { createAlice } from '../support/alice.ts';
import { deadLettersOf, runsOf } from '../support/look.ts';

test('it has the code, the request, its id and 4 KiB of the body; a run that ends settles it', async () => {
  const world = await createAlice();
  world.sandbox.faults.add({
    endpoint: 'transactions',
    page: 2,
    answer: {
      status: 500,
      body: { code: 701, message: `é${'x'.repeat(10_000)}` },
      headers: { 'x-request-id': 'r-1' },
    },
  });

  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });

  const [letter] = await deadLettersOf(world, 'alice');
  const [run] = await runsOf(world, 'alice');
  expect(letter).toMatchObject({
    run_id: run?.run_id,
    stream: 'transactions',
    http_status: 500,
    code: 701,
    cause: '701 account not found',
    fault: 'customer',
    resolved_at: null,
    evidence: {
      kind: 'refused',
      request: expect.stringMatching(/^GET \/platform\/v2\/transactions\?limit=2&cursor=[^&]+$/),
      requestId: 'r-1',
      detail: 'Calico answered code 701 (HTTP 500)',
      nextStep: expect.stringContaining('calico-sync sync <id>'),
    },
  });
  const { body } = (letter as { evidence: { body: string } }).evidence;
  expect(Buffer.byteLength(body)).toBe(4096);

  await world.rows('UPDATE calico.customers SET next_sync_at = now()');
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(await deadLettersOf(world, 'alice')).toMatchObject([
    { resolved_at: expect.any(Date), replayed_at: null },
  ]);
});

test('a cause is short, the same each time, and no two situations share one', () => {
  const situations = Object.keys(RESPONSE_RULES) as `${Situation}`[];
  const failures = situations.map((situation) => {
    if (situation === 'network' || situation === 'unreadable' || situation === 'endless')
      return { kind: situation, code: null } as const;
    const code = { other_5xx: 502, other_code: 418 }[situation as string] ?? Number(situation);
    return { kind: 'refused', code } as const;
  });
  const causes = failures.map((failure) => causeOf({ ...failure, endpoint: 'assets' }));
  expect(new Set(causes).size).toBe(situations.length);
  for (const cause of causes) expect(cause).toMatch(/^(\d{3} )?[a-z ]{5,40}$/);
  expect(causes).toEqual(
    expect.arrayContaining(['603 authentication failed', '502 server error', 'network']),
  );
  expect(causeOf({ kind: 'refused', code: 401, endpoint: 'token' })).toContain('(client credentials)');
});
