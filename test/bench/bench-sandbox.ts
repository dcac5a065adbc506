/**
 * The stand-in Calico of `npm run bench`, in a process of its own. Its records are made before the first request, so that
 * a page costs little more than sending it. Forked: says where it is, and hands out tokens through its own route.
 */
import { everyRecordOf } from '../../src/sandbox/data.ts';
import { createMemoryData } from '../../src/sandbox/data-memory.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { startSandbox } from '../../src/sandbox/server.ts';

export type SandboxPlace = { apiUrl: string; authUrl: string; clientId: string; clientSecret: string };

/** How many transactions each customer has; the ids are `customer-0001` and on. */
const sizes: number[] = JSON.parse(process.argv[2] ?? '[]');
const made = generateData({
  customers: sizes.length,
  transactions: (index) => sizes[index] ?? 0,
  seed: 5,
});
const data = createMemoryData();
for (const customerId of made.customerIds()) {
  for (const stream of ['assets', 'transactions'] as const) {
    for (const text of everyRecordOf(made, stream, customerId)) data.add(stream, customerId, text);
  }
}
const { apiUrl, authUrl, clientId, clientSecret } = await startSandbox({ data, logRequests: false });
process.send?.({ apiUrl, authUrl, clientId, clientSecret } satisfies SandboxPlace);
process.once('disconnect', () => process.exit());
