/** `why`: one customer's story, told from what Postgres has. */

import type { Orm } from '../db/client.ts';
import { readExpiry } from '../db/credentials.ts';
import { findCustomer } from '../db/customers.ts';
import { readFleetPause } from '../db/fleet-pause.ts';
import { listRuns, readReceipts } from '../db/runs.ts';
import { databaseNow, readOpenItems } from '../db/situation.ts';
import { unknownCustomer } from './customers.ts';
import { plain, say, sayJson } from './output.ts';
import { settings, withDatabase } from './session.ts';
import { type Facts, tell } from './why-story.ts';

/** Tells what happened to a customer, what happens next and the one command that would help. */
export async function why(customerId: string, { json }: { json?: boolean }): Promise<void> {
  const facts = await withDatabase(settings('database'), (db) => db.run((orm) => readFacts(orm, customerId)));
  const story = tell(facts);
  if (json) return sayJson({ customerId, status: facts.customer.status, ...story, facts });
  say(`${plain(customerId)} is ${facts.customer.status}.`);
  for (const sentence of story.happened) say(`  ${sentence}`);
  say(`Next: ${story.next}`);
  say(story.command === null ? 'There is nothing to do.' : `What helps: ${story.command}`);
}

async function readFacts(orm: Orm, customerId: string): Promise<Facts> {
  const customer = await findCustomer(orm, customerId);
  if (!customer) throw unknownCustomer(customerId);
  const [run] = await listRuns(orm, customerId, 1);
  return {
    nowMs: await databaseNow(orm),
    customer,
    hasCredentials: (await readExpiry(orm, customerId)) !== null,
    run: run ? { ...run, streams: await readReceipts(orm, run.runId) } : null,
    ...(await readOpenItems(orm, customerId, run?.runId ?? null)),
    fleetPause: await readFleetPause(orm),
  };
}
