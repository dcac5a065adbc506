/** `customers show`: everything about one customer but its tokens. */
import { readCheckpoint } from '../db/checkpoints.ts';
import { readExpiry } from '../db/credentials.ts';
import { type Customer, findCustomer } from '../db/customers.ts';
import { listRuns, readReceipts } from '../db/runs.ts';
import { STREAMS } from '../db/schema-sync.ts';
import { nextSync, statusColour, unknownCustomer } from './customers.ts';
import { formatInterval, formatTime } from './format.ts';
import { paint, plain, say, sayJson } from './output.ts';
import { receiptLine, runColour } from './runs.ts';
import { settings, withDatabase } from './session.ts';

type Details = { customer: Customer } & Awaited<ReturnType<typeof readDetails>>;

/** Shows one customer. */
export async function show(customerId: string, { json }: { json?: boolean }): Promise<void> {
  const details = await withDatabase(settings('database'), (db) =>
    db.run(async (orm): Promise<Details> => {
      const customer = await findCustomer(orm, customerId);
      if (!customer) throw unknownCustomer(customerId);
      return { customer, ...(await readDetails(orm, customerId)) };
    }),
  );
  if (json) {
    const { customer, ...rest } = details;
    return sayJson({ ...customer, ...rest });
  }
  sayDetails(details, Date.now());
}

async function readDetails(orm: Parameters<typeof findCustomer>[0], customerId: string) {
  const [lastRun] = await listRuns(orm, customerId, 1);
  const checkpoints = await Promise.all(STREAMS.map((stream) => readCheckpoint(orm, customerId, stream)));
  return {
    credentials: await readExpiry(orm, customerId),
    checkpoints: checkpoints.filter((checkpoint) => checkpoint !== null),
    lastRun: lastRun ? { ...lastRun, streams: await readReceipts(orm, lastRun.runId) } : null,
  };
}

function sayDetails({ customer, credentials, checkpoints, lastRun }: Details, now: number): void {
  const line = (label: string, value: string) => say(`${label.padEnd(14)}${value}`);
  const { status, statusReason, syncInterval } = customer;
  line('customer', plain(customer.customerId));
  line('status', paint(statusColour(status), status) + (statusReason ? ` (${plain(statusReason)})` : ''));
  line('every', syncInterval ? formatInterval(syncInterval) : 'SYNC_INTERVAL');
  line('next sync', status === 'active' ? nextSync(customer, now) : 'stopped');
  line('last success', formatTime(customer.lastSuccessAt, now));
  line('last full', formatTime(customer.lastFullAt, now));
  line(
    'credentials',
    credentials
      ? `key ${credentials.keyId}; access token ends ${formatTime(credentials.accessExpiresAt, now)}, refresh token ${formatTime(credentials.refreshExpiresAt, now)}`
      : 'none',
  );
  for (const { stream, passRunId, pagesDone, watermark } of checkpoints) {
    const progress = passRunId ? `a pass is under way, ${pagesDone} pages done` : 'no pass under way';
    line(stream, `${progress}; watermark ${watermark?.toISOString() ?? 'none'}`);
  }
  if (!lastRun) {
    line('last run', 'none');
    return;
  }
  line(
    'last run',
    `${paint(runColour(lastRun.status), lastRun.status)}, ${lastRun.mode}, started ${formatTime(lastRun.startedAt, now)}`,
  );
  if (lastRun.reason) line('', plain(lastRun.reason));
  for (const receipt of lastRun.streams) line('', receiptLine(receipt));
}
