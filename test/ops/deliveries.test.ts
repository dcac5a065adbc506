/** Deliveries: at least once, under one id, signed by the specification, for a day. */
import { randomBytes } from 'node:crypto';
import { setTimeout as timer } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { announce, type Event } from '../../src/db/events.ts';
import { type ClaimedEvent, openOutbox, pruneEvents } from '../../src/db/outbox.ts';
import { type DeliveryOptions, startDeliveries } from '../../src/ops/deliveries.ts';
import { createWebhook, signatureOf } from '../../src/ops/webhook.ts';
import { outageLog } from '../../src/queue/outage.ts';
import { findFreePort } from '../../src/sandbox/embedded-postgres.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { waitFor } from '../support/wait-for.ts';
import { createWorld, type World } from '../support/world.ts';

const SECRET = randomBytes(32);

const webhook = (url: string, timeoutMs = 10_000, secrets = [SECRET]) =>
  createWebhook({ url, secrets, timeoutMs, now: Date.now });

/** A deliverer as a worker has it, but hurried; it stops with the test at the latest. */
function deliver(world: World, { url }: Receiver, options: Partial<DeliveryOptions<ClaimedEvent>> = {}) {
  const deliveries = startDeliveries({
    outbox: openOutbox(world.db),
    send: webhook(url),
    log: world.deps.log,
    outboxOutage: outageLog(world.deps.log, 'outbox'),
    webhookOutage: outageLog(world.deps.log, 'webhook'),
    random: () => 0,
    sleep: (_ms, signal) => timer(5, undefined, { signal }),
    ...options,
  });
  onTestFinished(() => deliveries.stop(0));
  return deliveries;
}

const resumed = (customerId: string): Event => ({
  type: 'customer.resumed',
  data: { customer_id: customerId, was: 'paused' },
});
const condemned = (customerId: string): Event => ({
  type: 'customer.reauth_required',
  data: { customer_id: customerId, run_id: 'run', reason: 'Calico said so' },
});
const tell = (world: World, ...events: Event[]) =>
  world.db.transaction(({ orm }) => announce(orm, ...events));

type Row = { event_id: string; status: string; attempts: number; last_error: string | null };
const outboxOf = (world: World) =>
  world.rows<Row>('SELECT event_id, status, attempts, last_error FROM calico.event_outbox ORDER BY seq');
/** The outbox when every row of it is in this status. */
const settled = (world: World, status: string) =>
  waitFor(() => outboxOf(world), {
    describe: `every event to be ${status}`,
    until: (rows) => rows.every((row) => row.status === status),
  });
const age = (world: World, interval: string) =>
  world.rows('UPDATE calico.event_outbox SET occurred_at = occurred_at - $1::interval', [interval]);
/** Claims run out and waits are over. */
const makeDue = (world: World) => world.rows('UPDATE calico.event_outbox SET next_attempt_at = now()');

test('a signature is what the reference libraries make of their own example', () => {
  // github.com/standard-webhooks/standard-webhooks, libraries/*/test
  const secret = Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64');
  expect(signatureOf(secret, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}')).toBe(
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  );
});

test('an event comes once, signed by every secret, and says what happened', async () => {
  const world = await createWorld();
  const receiver = await startReceiver();
  const former = randomBytes(24);
  await tell(world, condemned('alice'));
  deliver(world, receiver, { send: webhook(receiver.url, 10_000, [SECRET, former]) });
  const [row] = await settled(world, 'delivered');

  expect(receiver.received).toHaveLength(1);
  const [request] = receiver.received;
  if (!request) throw new Error('nothing came');
  const { headers, id, body, path } = request;
  expect(path).toBe('/hooks/PathSecret?key=QuerySecret');
  expect(id).toBe(row?.event_id);
  expect(JSON.parse(body)).toEqual({
    type: 'customer.reauth_required',
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
    data: condemned('alice').data,
  });
  expect(headers['content-type']).toBe('application/json');
  expect(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1000)).toBeLessThan(60);
  const signatures = String(headers['webhook-signature']).split(' ');
  const content = `${id}.${headers['webhook-timestamp']}.${body}`;
  expect(await Promise.all([SECRET, former].map((key) => verified(key, content, signatures)))).toEqual([
    1, 1,
  ]);
  expect(await verified(SECRET, `${content} `, signatures)).toBe(0);
});

test('500, a redirect, silence and 429 are tried again under one id, no sooner than Retry-After says', async () => {
  const world = await createWorld();
  const receiver = await startReceiver();
  const answers = [{ status: 500 }, { status: 301, headers: { location: receiver.url } }, 'silence' as const];
  receiver.answer = () => {
    const next = answers.shift() ?? { status: 429, headers: { 'retry-after': '1800' } };
    return next === 'silence' ? new Promise<never>(() => {}) : next;
  };
  await tell(world, resumed('alice'));
  const failures: string[] = [];
  const outbox = openOutbox(world.db);
  const deliveries = deliver(world, receiver, {
    send: webhook(receiver.url, 300),
    outbox: {
      ...outbox,
      markFailed: (event, failure) => {
        failures.push(`${failure.reason} +${failure.delayMs}`);
        return outbox.markFailed(event, failure);
      },
    },
  });
  await waitFor(() => failures.length === 4, { describe: 'four failures' });
  await deliveries.stop(5_000);

  expect(failures).toEqual([
    'the webhook answered 500 +0',
    'the webhook answered 301 +0',
    'no answer within 0.3 s +0',
    'the webhook answered 429 +1800000',
  ]);
  const [row] = await world.rows<{ wait: number }>(
    'SELECT extract(epoch FROM next_attempt_at - now())::float8 AS wait FROM calico.event_outbox',
  );
  expect(row?.wait).toBeGreaterThan(1_700);

  receiver.answer = () => ({ status: 200 });
  await makeDue(world);
  deliver(world, receiver);
  expect(await settled(world, 'delivered')).toMatchObject([{ attempts: 5, last_error: null }]);
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(1);
  expect(receiver.received).toHaveLength(5);
});

test('tries grow apart, at random, up to an hour', async () => {
  const world = await createWorld();
  const receiver = await startReceiver();
  receiver.answer = () => ({ status: 500 });
  await tell(world, resumed('alice'));
  const delays: number[] = [];
  const outbox = openOutbox(world.db);
  deliver(world, receiver, {
    random: () => 0.5,
    outbox: {
      ...outbox,
      markFailed: (event, { reason, delayMs }) => {
        delays.push(delayMs);
        return outbox.markFailed(event, { reason, delayMs: 0 });
      },
    },
  });
  await waitFor(() => delays.length >= 12, { describe: 'twelve tries' });
  const seconds = delays.slice(0, 12).map((ms) => ms / 1000);
  expect(seconds).toEqual([2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1_280, 1_800, 1_800]);
});

test('a worker that is killed between delivery and mark: another delivers again, under the same id', async () => {
  const world = await createWorld();
  const receiver = await startReceiver();
  await tell(world, resumed('alice'));
  const killed = deliver(world, receiver, {
    outbox: { ...openOutbox(world.db), markDelivered: () => new Promise(() => {}) },
  });
  await waitFor(() => receiver.received.length === 1, { describe: 'the first delivery' });
  await killed.stop(0);
  expect(await openOutbox(world.db).claim(10, 60_000), 'its claim still stands').toEqual([]);

  await makeDue(world);
  deliver(world, receiver);
  await settled(world, 'delivered');
  const ids = receiver.received.map(({ id }) => id);
  expect(ids).toEqual([ids[0], ids[0]]);
});

test('two deliverers share the work, and neither sends what the other has', async () => {
  const world = await createWorld();
  const receiver = await startReceiver();
  await tell(world, ...Array.from({ length: 100 }, (_none, index) => resumed(`customer ${index}`)));
  const claims = [0, 0];
  const both = Promise.withResolvers<void>();
  receiver.answer = async () => {
    await both.promise; // nobody is done before the other has begun
    return { status: 204 };
  };
  for (const index of [0, 1]) {
    const outbox = openOutbox(world.db);
    deliver(world, receiver, {
      outbox: {
        ...outbox,
        claim: async (limit, leaseMs) => {
          const events = await outbox.claim(limit, leaseMs);
          claims[index] = (claims[index] ?? 0) + events.length;
          if (claims.every((claimed) => claimed > 0)) both.resolve();
          return events;
        },
      },
    });
  }
  await settled(world, 'delivered');
  expect(claims.reduce((sum, claimed) => sum + claimed)).toBe(100);
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(100);
  expect(receiver.received).toHaveLength(100);
});

test('what happened to a customer comes in order, though the first must be tried again', async () => {
  const world = await createWorld();
  const receiver = await startReceiver();
  const lineOf = (body: string) => {
    const { type, data } = JSON.parse(body) as Event;
    return `${data.customer_id} ${type}`;
  };
  receiver.answer = ({ body, id }) => {
    const tries = receiver.received.filter((request) => request.id === id).length;
    return { status: lineOf(body) === 'alice customer.reauth_required' && tries < 3 ? 503 : 204 };
  };
  await tell(world, condemned('alice'), resumed('alice'), resumed('bob'));
  deliver(world, receiver);
  await settled(world, 'delivered');
  const lines = receiver.received.map(({ body }) => lineOf(body));
  expect(lines.filter((line) => line.startsWith('alice'))).toEqual([
    'alice customer.reauth_required',
    'alice customer.reauth_required',
    'alice customer.reauth_required',
    'alice customer.resumed',
  ]);
  expect(lines.indexOf('bob customer.resumed'), 'bob waits for nobody').toBeLessThan(2);
});

test('dead after a day of tries, with the reason kept; no secret is in the table or in a log line', async () => {
  const world = await createWorld();
  const receiver = await startReceiver();
  receiver.answer = () => ({ status: 410, headers: { 'retry-after': '3600' } });
  await tell(world, condemned('alice'), resumed('alice'));
  await age(world, '23 hours 50 minutes');
  const first = deliver(world, receiver);
  const rows = await waitFor(() => outboxOf(world), {
    describe: 'a try',
    until: ([row]) => row?.last_error !== null,
  });
  expect(rows, 'it is not a day old').toMatchObject([
    { status: 'pending', attempts: 1, last_error: 'the webhook answered 410' },
    { status: 'pending', attempts: 0 },
  ]);
  await first.stop(5_000);

  await age(world, '20 minutes');
  await makeDue(world);
  const url = new URL(receiver.url);
  url.port = String(await findFreePort());
  deliver(world, receiver, { send: webhook(url.href) });
  const reason = 'the webhook could not be reached (ECONNREFUSED)';
  expect(await settled(world, 'dead'), 'what waited for the first had its try').toMatchObject([
    { attempts: 2, last_error: reason },
    { attempts: 1, last_error: reason },
  ]);
  const lines = world.logged.filter((line) => line.includes('an event is dead'));
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { level: 50, customerId: 'alice', type: 'customer.reauth_required', reason },
    { level: 50, customerId: 'alice', type: 'customer.resumed', reason },
  ]);

  const table = await world.rows('SELECT * FROM calico.event_outbox');
  const written = [JSON.stringify(table), ...world.logged].join('\n');
  for (const secret of ['PathSecret', 'QuerySecret', SECRET.toString('base64'), SECRET.toString('hex')]) {
    expect(written).not.toContain(secret);
  }
});

test('a stop waits for the answer under way, and not for ever', async () => {
  const world = await createWorld();
  const receiver = await startReceiver();
  const answer = Promise.withResolvers<{ status: number }>();
  receiver.answer = () => answer.promise;
  await tell(world, resumed('alice'));
  const patient = deliver(world, receiver);
  await waitFor(() => receiver.received.length === 1, { describe: 'the first delivery' });
  const stopped = patient.stop(20_000);
  answer.resolve({ status: 200 });
  await stopped;
  expect(await outboxOf(world)).toMatchObject([{ status: 'delivered', attempts: 1 }]);

  receiver.answer = () => new Promise(() => {});
  await tell(world, resumed('bob'));
  const cut = deliver(world, receiver);
  await waitFor(() => receiver.received.length === 2, { describe: 'the second delivery' });
  await cut.stop(1_000);
  expect(await outboxOf(world)).toMatchObject([
    { status: 'delivered' },
    { status: 'pending', attempts: 1, last_error: 'this worker stopped before an answer came' },
  ]);
});

test('the outbox forgets: delivered after a day, untried after two, dead after a week', async () => {
  const world = await createWorld();
  const ages = { delivered: [23, 25], pending: [47, 49], dead: [167, 169] };
  for (const [status, hours] of Object.entries(ages)) {
    await world.rows(
      `INSERT INTO calico.event_outbox (event_type, customer_id, data, status, occurred_at)
       SELECT 'customer.resumed', 'alice', '{}', $1, now() - make_interval(hours => h) FROM unnest($2::int[]) AS h`,
      [status, hours],
    );
  }
  const prune = () => world.db.run((orm) => pruneEvents(orm, 2));
  const rounds = [await prune(), await prune(), await prune()];
  expect(
    rounds.map(({ removed }) => removed),
    'in batches',
  ).toEqual([2, 1, 0]);
  expect(rounds.reduce((sum, { undelivered }) => sum + undelivered, 0)).toBe(1);
  expect((await outboxOf(world)).map(({ status }) => status)).toEqual(['delivered', 'pending', 'dead']);
});

/** How many of the signatures are of this content, by WebCrypto. */
async function verified(secret: Buffer, content: string, signatures: readonly string[]): Promise<number> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', new Uint8Array(secret), algorithm, false, ['verify']);
  let found = 0;
  for (const signature of signatures) {
    const [version, base64 = ''] = signature.split(',');
    const bytes = new Uint8Array(Buffer.from(base64, 'base64'));
    const isOf = await crypto.subtle.verify('HMAC', key, bytes, new TextEncoder().encode(content));
    if (version === 'v1' && isOf) found++;
  }
  return found;
}
