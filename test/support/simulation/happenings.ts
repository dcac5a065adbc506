/** What happens beside the workers: at Calico, to the clock, and what people do. */
import { saveCredentials } from '../../../src/db/credentials.ts';
import { addCustomer, pauseCustomer, requestSync, resumeCustomer } from '../../../src/db/customers.ts';
import { pick } from '../../../src/sandbox/generate-random.ts';
import { FRAIL } from './calico.ts';
import { count, type Life, note } from './state.ts';
import { engage } from './turns.ts';
import { doAtGates } from './worker.ts';

const MINUTE_MS = 60_000;

/** What happens beside the workers, between two of their steps. */
export async function somethingHappens(life: Life): Promise<void> {
  const { plan, draws, calico, scheduler } = life;
  const { perMille } = plan;
  const draw = draws.world;
  const happens = (chance: number) => chance > 0 && draw(1_000) < chance;
  const customerId = pick(draw, calico.customerIds);
  // Between two pages it matters most.
  const isPaging = scheduler.ready().some(({ at }) => at?.kind === 'answer');
  if (happens(perMille.data * (isPaging ? 6 : 1))) await changeData(life, customerId);
  if (happens(perMille.down)) turnProvider(life, customerId);
  if (happens(perMille.tokens)) endTokens(life, customerId, draw(4) === 0);
  if (happens(perMille.clock)) await passTime(life);
  if (happens(perMille.stall)) await stall(life);
  const isFree = scheduler.actors().every(({ name }) => name !== 'operator');
  if (isFree && happens(perMille.operator)) await operate(life, customerId);
}

/** Between two turns: some changes, and somebody asks for a sync. */
export async function changeSomething(life: Life): Promise<void> {
  const { draws, calico, stage } = life;
  const draw = draws.world;
  for (let left = draw(4); left > 0; left--) await changeData(life, pick(draw, calico.customerIds));
  const { restless } = life.plan;
  if (draw(3) > 0 && !restless) return;
  const mode = draw(3) === 0 && !restless ? 'incremental' : 'full';
  const asked = await stage.db.run((orm) => requestSync(orm, [...calico.customerIds], mode, 'manual'));
  note(life, `asked for: ${mode} of ${asked.toSorted().join(' ')}`);
}

async function changeData(life: Life, customerId: string): Promise<void> {
  note(life, `calico: ${life.calico.change(customerId, ++life.step)}`);
  count(life, 'data');
}

/** A provider goes down, or is back: while it is down every answer is a 206 that says so. */
export function turnProvider(life: Life, customerId: string): void {
  const { calico, stage, ups } = life;
  const isDown = !calico.isDown(customerId);
  note(life, `calico: ${FRAIL} of ${customerId} is ${isDown ? 'down' : 'up'}`);
  calico.setDown(customerId, isDown);
  ups.get(customerId)?.();
  if (!isDown) return;
  count(life, 'down');
  const partial = [{ provider_id: FRAIL, cause: 'maintenance' }];
  const rule = stage.sandbox.faults.add({ customerId, times: Number.POSITIVE_INFINITY, answer: { partial } });
  ups.set(customerId, rule.remove);
}

function endTokens(life: Life, customerId: string, forGood: boolean): void {
  const { tokens } = life.stage.sandbox;
  note(life, `calico: the tokens of ${customerId} end${forGood ? ' for good' : ''}`);
  count(life, 'tokens');
  // A token that ends as soon as it was refreshed is a second 401.
  life.oracle.explain(customerId, '401');
  if (forGood) {
    life.oracle.explain(customerId, '603');
    tokens.revoke(customerId);
  } else tokens.expireAccessTokens(customerId);
}

/** The clock goes on by seconds, minutes or hours: waits end, leases run out under those who hold them. */
export async function passTime(life: Life): Promise<void> {
  const { stage, draws } = life;
  const draw = draws.world;
  const ms = pick(draw, [5_000, 30_000, 3 * MINUTE_MS, 10 * MINUTE_MS, 70 * MINUTE_MS, 25 * 60 * MINUTE_MS]);
  await stage.clock.advance(ms);
  count(life, 'clock');
  note(life, `clock: ${ms / 1_000} s later`);
}

/** A worker sleeps past its lease while others go on; it wakes up in the middle of something. */
async function stall(life: Life): Promise<void> {
  const { scheduler, draws, stage } = life;
  const workers = scheduler.ready().filter(({ name }) => name !== 'operator');
  if (workers.length === 0) return;
  // One that has an answer in hand has the most to spoil.
  const holders = workers.filter(({ at }) => at?.kind === 'answer');
  const sleeper = pick(draws.world, holders.length > 0 ? holders : workers);
  life.stalled.set(sleeper, life.trace.length + 20 + draws.world(200));
  for (let left = draws.world(4); left > 0; left--) await changeData(life, sleeper.customerId);
  await stage.clock.advance(6 * MINUTE_MS);
  // BullMQ takes a job whose worker does not stir for stalled, and gives it to another.
  life.queue.over(sleeper.customerId);
  // Whoever finds its run cannot tell a sleeper from a dead one.
  life.oracle.explain(sleeper.customerId, 'workers died');
  count(life, 'stall');
  note(life, `${sleeper.name} sleeps, and its lease runs out`);
  await engage(life, 100);
}

/** A person: pauses, resumes, brings new credentials, asks for a sync. Waits for locks as everybody does. */
async function operate(life: Life, customerId: string): Promise<void> {
  const { stage, scheduler, draws } = life;
  const slot = stage.slots.find(({ name }) => name === 'operator');
  if (!slot) return;
  const { db } = slot;
  const acts: [string, () => Promise<unknown>][] = [
    ['pauses', () => db.run((orm) => pauseCustomer(orm, customerId, 'the simulation'))],
    ['resumes', () => db.transaction(({ orm }) => resumeCustomer(orm, customerId))],
    ['asks for', () => db.run((orm) => requestSync(orm, [customerId], 'full', 'manual'))],
    ['brings credentials of', () => giveCredentials(life, customerId, db)],
  ];
  const [what, act] = pick(draws.world, acts);
  life.operated.add(customerId);
  note(life, `operator ${what} ${customerId}`);
  count(life, `operator ${what}`);
  await scheduler.start(slot.name, customerId, async (actor) => {
    await doAtGates({ stage, slot, scheduler }, actor, act).catch((error: unknown) => {
      if (!actor.dead) throw error;
    });
  });
}

/** A customer’s consent: new tokens, stored as `customers add` stores them. */
export async function giveCredentials({ stage }: Life, customerId: string, db = stage.db): Promise<void> {
  const tokens = stage.sandbox.issueTokens(customerId);
  await db.transaction(async ({ orm }) => {
    await addCustomer(orm, customerId, null);
    await saveCredentials(orm, stage.keys, customerId, {
      accessToken: tokens.access_token,
      refreshToken: tokens.refresh_token,
      accessExpiresAt: new Date(stage.clock.now() + tokens.expires_in * 1_000),
      refreshExpiresAt: new Date(stage.clock.now() + 365 * 24 * 60 * MINUTE_MS),
    });
  });
}
