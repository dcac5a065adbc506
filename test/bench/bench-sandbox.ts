/**
 * The benchmarks' stand-in Calico, in a process of its own. Forked: says where it is, hands out tokens through its own route,
 * and answers each message with the requests that came since the message before.
 */
import { everyRecordOf, type SandboxData } from '../../src/sandbox/data.ts';
import { createMemoryData } from '../../src/sandbox/data-memory.ts';
import type { Endpoint } from '../../src/sandbox/faults.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { startSandbox } from '../../src/sandbox/server.ts';

export type SandboxSetup = {
  /** How many transactions each customer has; the ids are `customer-0001` and on. */
  sizes: readonly number[];
  /**
   * Whether records are made before the first request, so that a page costs little more than sending it. Else they are
   * made with each page, some 0.8 ms of CPU: what a million of them would need in memory is nothing then.
   */
  madeBefore: boolean;
  latencyMs: number;
};
export type SandboxPlace = { apiUrl: string; authUrl: string; clientId: string; clientSecret: string };
export type SeenRequest = { endpoint: Endpoint; atMs: number };

const setup: SandboxSetup = JSON.parse(process.argv[2] ?? '');
const made = generateData({
  customers: setup.sizes.length,
  transactions: (index) => setup.sizes[index] ?? 0,
  seed: 5,
});
let seen: SeenRequest[] = [];
const { apiUrl, authUrl, clientId, clientSecret } = await startSandbox({
  data: setup.madeBefore ? keptInMemory(made) : made,
  latencyMs: setup.latencyMs,
  logRequests: false,
  onRequest: ({ endpoint, atMs }) => void seen.push({ endpoint, atMs }),
});
process.on('message', () => {
  process.send?.(seen);
  seen = [];
});
process.send?.({ apiUrl, authUrl, clientId, clientSecret } satisfies SandboxPlace);
process.once('disconnect', () => process.exit());

function keptInMemory(from: SandboxData): SandboxData {
  const data = createMemoryData();
  for (const customerId of from.customerIds()) {
    for (const stream of ['assets', 'transactions'] as const) {
      for (const text of everyRecordOf(from, stream, customerId)) data.add(stream, customerId, text);
    }
  }
  return data;
}
