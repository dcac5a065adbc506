/** Events: written in the transaction of the change that they tell of, once each. */
import { expect, test } from 'vitest';
import { saveCredentials } from '../../src/db/credentials.ts';
import { pauseCustomer, removeCustomer, resumeCustomer } from '../../src/db/customers.ts';
import { replayDeadLetters } from '../../src/db/dead-letters.ts';
import { announceExpiring } from '../../src/db/expiring.ts';
import { createAlice } from '../support/alice.ts';
import { customerOf, fetchesOf, runsOf } from '../support/look.ts';
import { createWorld, type World } from '../support/world.ts';

type Told = { type: string; data: Record<string, unknown> };

/** What was announced, the first first. */
const eventsOf = (world: World) =>
  world.rows<Told>('SELECT event_type AS type, data FROM calico.event_outbox ORDER BY seq');

test('a refused refresh grant asks for a new sign-in; new tokens resume at the checkpoint; each is told once', async () => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'transactions', page: 2, answer: { status: 401 } });
  world.sandbox.faults.add({ endpoint: 'token', answer: { status: 400, body: { error: 'invalid_grant' } } });

  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });
  const stopped = await customerOf(world, 'alice');
  expect(stopped).toMatchObject({ status: 'reauth_required' });
  await world.makeDue('alice');
  expect(await world.sync('alice'), 'its schedule has stopped').toMatchObject({ kind: 'not_run' });
  const [letter] = await world.rows<{ id: string; run_id: string; reason: string }>(
    'SELECT id, run_id, reason FROM calico.dead_letters',
  );
  const reason = letter?.reason;
  const condemned = [
    { type: 'customer.reauth_required', data: { customer_id: 'alice', run_id: letter?.run_id, reason } },
    {
      type: 'dead_letter.created',
      data: {
        customer_id: 'alice',
        dead_letter_id: letter?.id,
        run_id: letter?.run_id,
        stream: null,
        http_status: 400,
        code: 603,
        fault: 'customer',
        reason,
      },
    },
  ];
  expect(await eventsOf(world)).toEqual(condemned);

  await world.addCustomer('alice');
  await world.addCustomer('alice'); // it runs already: no news
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect(fetchesOf(world, 'alice').get('transactions first page'), 'it went on at its checkpoint').toBe(1);
  const run = (await runsOf(world, 'alice')).at(-1);
  const none = { inserted: 0, updated: 0, unchanged: 0, duplicates: 0, quarantined: 0, removed: 0 };
  expect(await eventsOf(world)).toEqual([
    ...condemned,
    { type: 'customer.resumed', data: { customer_id: 'alice', was: 'reauth_required' } },
    {
      type: 'sync.completed',
      data: {
        customer_id: 'alice',
        run_id: run?.run_id,
        mode: 'full',
        trigger: 'credentials',
        status: 'succeeded',
        reason: null,
        streams: {
          assets: { ...none, pages: 1, fetched: 0 },
          // Two pages, and the first load's second walk of three.
          transactions: { ...none, pages: 5, fetched: 8, inserted: 3, unchanged: 5 },
        },
      },
    },
  ]);
});

test('pause and resume: only the second is news; a purge takes the events along', async () => {
  const world = await createAlice();
  await world.db.transaction(async ({ orm }) => {
    expect(await resumeCustomer(orm, 'alice'), 'it is not paused').toBe(false);
    await pauseCustomer(orm, 'alice', 'a test');
    expect(await resumeCustomer(orm, 'alice')).toBe(true);
  });
  expect(await eventsOf(world)).toEqual([
    { type: 'customer.resumed', data: { customer_id: 'alice', was: 'paused' } },
  ]);
  await world.db.transaction(({ orm }) => removeCustomer(orm, 'alice', true));
  expect(await eventsOf(world)).toEqual([]);
});

test('403 stops the schedule and is told as a dead letter, not as a sign-in to ask for; its replay is told, too', async () => {
  const world = await createAlice();
  world.sandbox.faults.add({ endpoint: 'assets', answer: { status: 403 } });
  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });
  const told = { type: 'dead_letter.created', data: { http_status: 403, stream: 'assets' } };
  expect(await eventsOf(world)).toMatchObject([told]);

  const cause = { cause: '403 insufficient rights' };
  await world.db.transaction(({ orm }) => replayDeadLetters(orm, cause, true));
  expect(await eventsOf(world), 'a dry run').toHaveLength(1);
  await world.db.transaction(({ orm }) => replayDeadLetters(orm, cause, false));
  const resumed = { type: 'customer.resumed', data: { customer_id: 'alice', was: 'forbidden' } };
  expect(await eventsOf(world)).toMatchObject([told, resumed]);
  world.sandbox.faults.add({ endpoint: 'transactions', answer: { status: 404 } });
  expect(await world.sync('alice')).toMatchObject({ kind: 'dead_lettered' });
  await world.db.transaction(({ orm }) => replayDeadLetters(orm, { cause: '404 no such resource' }, false));
  expect(await eventsOf(world), 'it had not stopped: no news').toMatchObject([
    told,
    resumed,
    { type: 'dead_letter.created' },
  ]);
});

test('the end of a run that is rolled back leaves no event', async () => {
  const world = await createWorld({ ownDatabase: true });
  await world.addCustomer('alice');
  await world.addCustomer('bob');
  world.sandbox.tokens.revoke('bob');
  await world.rows(`
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
    CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON calico.sync_runs DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION refuse()`);

  expect(await world.sync('alice'), 'all its pages are committed, its end is not').toMatchObject({
    kind: 'later',
    why: 'retry',
  });
  expect(await world.sync('bob')).toMatchObject({ kind: 'failed' });
  expect(await runsOf(world, 'alice')).toMatchObject([{ status: 'waiting' }]);
  expect(await customerOf(world, 'bob')).toMatchObject({ status: 'active' });
  expect(await world.rows('SELECT FROM calico.dead_letters')).toEqual([]);
  expect(await eventsOf(world)).toEqual([]);

  await world.rows('DROP TRIGGER at_commit ON calico.sync_runs');
  await world.expireLease('bob');
  await world.makeDue('alice');
  expect(await world.sync('bob')).toMatchObject({ kind: 'dead_lettered' });
  expect(await world.sync('alice')).toMatchObject({ kind: 'done', status: 'succeeded' });
  expect((await eventsOf(world)).map(({ type }) => type)).toEqual([
    'customer.reauth_required',
    'dead_letter.created',
    'sync.completed',
  ]);
});

test('a refresh token that ends in 29 days is announced once, one of 31 days is not', async () => {
  const world = await createWorld();
  const endsIn = (customerId: string, days: number) =>
    world.db.run((orm) =>
      saveCredentials(orm, world.deps.keys, customerId, {
        accessToken: 'access',
        refreshToken: 'refresh',
        accessExpiresAt: new Date(),
        refreshExpiresAt: new Date(Date.now() + days * 24 * 60 * 60_000),
      }),
    );
  /** One round of a worker: who it announces. */
  const announced = async () => {
    await world.rows('DELETE FROM calico.event_outbox');
    const count = await world.db.transaction(({ orm }) => announceExpiring(orm, 100));
    const events = await eventsOf(world);
    expect(events.every(({ type }) => type === 'credentials.expiring')).toBe(true);
    expect(events).toHaveLength(count);
    return events.map(({ data }) => data['customer_id']).sort();
  };
  for (const [customerId, days, status] of [
    ['ends', 29, 'active'],
    ['idle', 29, 'paused'],
    ['stopped', 29, 'reauth_required'],
    ['lasts', 31, 'active'],
    ['rotates', 14, 'active'],
  ] as const) {
    await world.addCustomer(customerId);
    await endsIn(customerId, days);
    await world.rows('UPDATE calico.customers SET status = $2 WHERE customer_id = $1', [customerId, status]);
  }

  expect(await announced()).toEqual(['ends', 'idle', 'rotates']);
  expect(await announced(), 'once').toEqual([]);
  await endsIn('rotates', 14.05);
  expect(await announced(), 'an hour later is no other end').toEqual([]);

  await endsIn('ends', 365);
  await endsIn('lasts', 29.9);
  await endsIn('rotates', 22);
  expect(await announced()).toEqual(['lasts', 'rotates']);

  await endsIn('ends', 29);
  await endsIn('idle', 20);
  const holder = await world.database.pool.connect();
  await holder.query("BEGIN; SELECT FROM calico.credentials WHERE customer_id = 'idle' FOR UPDATE");
  expect(await announced(), 'a row that is held waits for the next round').toEqual([]);
  await holder.query('ROLLBACK');
  holder.release();
  expect(await announced()).toEqual(['idle']);
});
