/** `customers …`: who is synced. */
import { text } from 'node:stream/consumers';
import { parseTokensInput } from '../calico/tokens.ts';
import type { Database } from '../db/client.ts';
import { saveCredentials } from '../db/credentials.ts';
import {
  type Added,
  addCustomer,
  type Customer,
  findCustomer,
  listCustomers,
  pauseCustomer,
  removeCustomer,
  resumeCustomer,
} from '../db/customers.ts';
import { listRuns } from '../db/runs.ts';
import type { CustomerStatus } from '../db/statuses.ts';
import { failure } from './explain.ts';
import { formatTime, shellWord } from './format.ts';
import { type Colour, plain, say, sayJson, sayTable } from './output.ts';
import { settings, withDatabase } from './session.ts';

/** Adds a customer with the tokens that come on stdin. Of a known one it replaces them, and resumes it where it needed them. */
export async function addCustomers(customerId: string, { every }: { every?: number }): Promise<void> {
  const config = settings('database', 'credentials');
  const tokens = parseTokensInput(await readStdin(), Date.now());
  if ('problem' in tokens) {
    throw failure(`No tokens for ${plain(customerId)}: ${tokens.problem}. ${EXPECTED}`);
  }
  const added = await withDatabase(config, (db) =>
    db.transaction(async ({ orm }) => {
      const result = await addCustomer(orm, customerId, every ?? null);
      await saveCredentials(orm, config.credentials.CREDENTIALS_KEYS, customerId, tokens);
      return result;
    }),
  );
  say(describeAdded(customerId, added));
}

const EXPECTED = 'Expected on stdin: {"access_token": "…", "refresh_token": "…", "expires_in": 900}';

async function readStdin(): Promise<string> {
  if (process.stdin.isTTY) throw failure(`The tokens come on stdin, never as arguments. ${EXPECTED}`);
  return text(process.stdin);
}

function describeAdded(customerId: string, { known, resumed, status }: Added): string {
  const name = plain(customerId);
  if (!known) return `Added ${name}; its first sync starts within seconds where a worker runs.`;
  if (resumed) return `${name} has new credentials and is resumed; it was ${resumed}.`;
  if (status !== 'paused') return `${name} has new credentials; its schedule stays as it is.`;
  return `${name} has new credentials and stays paused. Next: calico-sync customers resume ${shellWord(customerId)}`;
}

const CHUNK = 10_000;

/** Lists customers in the order of their ids. */
export async function listAll({ json, status }: { json?: boolean; status?: CustomerStatus }): Promise<void> {
  const found = await withDatabase(settings('database'), async (db) => {
    const all: Customer[] = [];
    for (let after = ''; ; ) {
      const chunk = await db.run((orm) => listCustomers(orm, CHUNK, after));
      all.push(...chunk.filter((customer) => !status || customer.status === status));
      if (chunk.length < CHUNK) return all;
      after = chunk.at(-1)?.customerId ?? after;
    }
  });
  if (json) return sayJson(found);
  if (found.length === 0) return say(status ? `No customer is ${status}.` : NO_CUSTOMERS);
  const now = Date.now();
  sayTable<Customer>(
    [
      { title: 'customer', cell: (row) => row.customerId },
      { title: 'status', cell: (row) => row.status, colour: (row) => statusColour(row.status) },
      { title: 'last success', cell: (row) => formatTime(row.lastSuccessAt, now) },
      { title: 'next sync', cell: (row) => (row.status === 'active' ? nextSync(row, now) : 'stopped') },
    ],
    found,
    (row) => row.statusReason,
  );
}

const NO_CUSTOMERS = 'There are no customers yet. Next: calico-sync customers add <id>';

/** Green goes on by itself, yellow was stopped by a person, red needs one. */
export function statusColour(status: CustomerStatus): Colour {
  if (status === 'active') return 'green';
  return status === 'paused' ? 'yellow' : 'red';
}

/** When an active customer is synced next: its schedule, or the wait that holds it back. */
export function nextSync({ nextSyncAt, notBefore, leaseUntil }: Customer, nowMs: number): string {
  if (leaseUntil && leaseUntil.getTime() > nowMs) return 'running';
  const at = notBefore && notBefore > nextSyncAt ? notBefore : nextSyncAt;
  return at.getTime() <= nowMs ? 'due' : formatTime(at, nowMs);
}

export async function pause(customerId: string, { reason }: { reason: string }): Promise<void> {
  await change(customerId, (db) => db.run((orm) => pauseCustomer(orm, customerId, reason)), 'active');
  const name = plain(customerId);
  say(`${name} is paused. Next, when it may go on: calico-sync customers resume ${shellWord(customerId)}`);
}

export async function resume(customerId: string): Promise<void> {
  await change(customerId, (db) => db.transaction(({ orm }) => resumeCustomer(orm, customerId)), 'paused');
  say(`${plain(customerId)} is active again and due now; it goes on at its checkpoint.`);
}

export async function remove(customerId: string, { purge = false }: { purge?: boolean }): Promise<void> {
  const removed = await withDatabase(settings('database'), (db) =>
    db.transaction(async ({ orm }) => {
      const hasLeftovers = purge && (await listRuns(orm, customerId, 1)).length > 0;
      return (await removeCustomer(orm, customerId, purge)) || hasLeftovers;
    }),
  );
  if (!removed) throw unknownCustomer(customerId);
  const name = plain(customerId);
  say(
    purge
      ? `${name} and all its rows are gone.`
      : `${name} and its tokens are forgotten; its rows stay (--purge removes them).`,
  );
}

/** A change that only one status allows; says what stands in its way. */
async function change(
  customerId: string,
  apply: (db: Database) => Promise<boolean>,
  needed: CustomerStatus,
): Promise<void> {
  await withDatabase(settings('database'), async (db) => {
    if (await apply(db)) return;
    const customer = await db.run((orm) => findCustomer(orm, customerId));
    if (!customer) throw unknownCustomer(customerId);
    throw failure(whyNot(customer, needed));
  });
}

function whyNot({ customerId, status, statusReason }: Customer, needed: CustomerStatus): string {
  const name = plain(customerId);
  const word = shellWord(customerId);
  if (status === 'paused') return `${name} is paused already (${plain(statusReason ?? 'no reason given')}).`;
  if (status === 'active') return `${name} is not ${needed}: it is active.`;
  return `${name} is ${status}: ${plain(statusReason ?? '')}. Next: calico-sync customers add ${word} with new tokens.`;
}

/** The error for an id that nobody added. */
export function unknownCustomer(customerId: string): Error {
  return failure(`There is no customer ${plain(customerId)}. calico-sync customers list shows all.`);
}
