/**
 * The sandbox against the contract, judged by somebody else: every answer goes through Prism's validating
 * proxy. What to know of Prism (5.16):
 * - It knows no base path: it joins the path of a request to the upstream's.
 * - It knows no discriminator: it tries every branch of the `oneOf`, and the constant `kind` lets one match.
 *   A record that is wrong brings the complaints of all six branches.
 * - It never passes on a 501: it invents an answer of its own, a 200. So an answer counts only with the
 *   sandbox's request id.
 * - It reads numbers as floats and writes the body anew: exact digits are checked in data.test.ts, without it.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { everyRecordOf, type SandboxStream } from '../../src/sandbox/data.ts';
import type { MemoryData } from '../../src/sandbox/data-memory.ts';
import { loadRealData } from '../../src/sandbox/data-real.ts';
import type { FaultAnswer } from '../../src/sandbox/faults.ts';
import { generateData } from '../../src/sandbox/generate.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { type Prism, startPrismProxy } from '../support/prism.ts';
import { type Parameters, queryOf, transaction, type WirePage } from './client.ts';

/** The real wallets and a few generated customers, in one set that a test may add to. */
function manyKindsOfData(): MemoryData {
  const data = loadRealData();
  const generated = generateData({ customers: 4, transactions: 250, seed: 3 });
  for (const customerId of generated.customerIds()) {
    for (const stream of ['assets', 'transactions'] as const) {
      data.add(stream, customerId, ...everyRecordOf(generated, stream, customerId));
    }
  }
  return data;
}

const data = manyKindsOfData();
let sandbox: Sandbox;
let prism: Prism;

beforeAll(async () => {
  sandbox = await startSandbox({ data });
  prism = await startPrismProxy(sandbox.apiUrl);
}, 30_000);

afterAll(async () => {
  await prism?.stop();
  await sandbox.close();
});

afterEach(() => sandbox.faults.clear());

interface JudgedAnswer {
  readonly status: number;
  /** What Prism objects to; null when nothing. */
  readonly objection: string | null;
  readonly body: unknown;
}

async function ask(
  customerId: string,
  request: string,
  parameters: Parameters = {},
  accessToken = sandbox.issueTokens(customerId).access_token,
): Promise<JudgedAnswer> {
  const [method = 'GET', path = ''] = request.split(' ');
  const response = await fetch(`${prism.url}${path}?${queryOf(parameters)}`, {
    method,
    headers: { authorization: `Bearer ${accessToken}` },
  });
  const text = await response.text();
  const isSandboxAnswer = response.headers.has('x-request-id');
  const objection = response.headers.get('sl-violations') ?? (isSandboxAnswer ? null : text);
  return { status: response.status, objection, body: JSON.parse(text) };
}

/** Walks a stream to its end; returns how many records passed. */
async function walkThrough(stream: SandboxStream, customerId: string, limit: number): Promise<number> {
  let records = 0;
  let cursor: string | null = null;
  do {
    const parameters: Parameters = cursor === null ? { limit } : { limit, cursor };
    const { status, objection, body } = await ask(customerId, `GET /${stream}`, parameters);
    expect({ status, objection }).toEqual({ status: 200, objection: null });
    const { data: content, page } = body as WirePage;
    records += content[stream]?.length ?? 0;
    cursor = page.next_cursor;
  } while (cursor !== null);
  return records;
}

describe.each(['assets', 'transactions'] as const)('Prism passes every page of %s', (stream) => {
  const isGenerated = (customerId: string): boolean => customerId.startsWith('customer-');

  test('of the busiest real wallets', async () => {
    const wallets = data.customerIds().filter((customerId) => !isGenerated(customerId));
    const busiest = wallets.toSorted((one, other) => data.count(stream, other) - data.count(stream, one));
    for (const wallet of busiest.slice(0, 40)) {
      expect(await walkThrough(stream, wallet, 5)).toBe(data.count(stream, wallet));
    }
  }, 20_000);

  test('of generated customers', async () => {
    for (const customerId of data.customerIds().filter(isGenerated)) {
      expect(await walkThrough(stream, customerId, 50)).toBe(data.count(stream, customerId));
    }
  }, 20_000);
});

test.each(['GET /providers', 'POST /assets/refresh', 'POST /transactions/refresh'])(
  'Prism passes %s',
  async (request) => {
    expect(await ask('customer-0001', request)).toMatchObject({ status: 200, objection: null });
  },
);

describe('Prism passes an error', () => {
  test.each([
    ['GET /assets', { cursor: 'none-such' }, 400],
    ['GET /transactions', { start_time: 2, end_time: 1 }, 400],
  ])('of %s with %j', async (request, parameters, status) => {
    expect(await ask('customer-0001', request, parameters as Parameters)).toMatchObject({
      status,
      objection: null,
    });
  });

  test('of an unknown token', async () => {
    expect(await ask('', 'GET /assets', {}, 'unknown')).toMatchObject({ status: 401, objection: null });
  });

  test.each([429, 500, 503, 603])('of status %i on demand', async (status) => {
    sandbox.faults.add({ answer: { status } });
    expect(await ask('customer-0001', 'GET /transactions')).toMatchObject({ status, objection: null });
  });

  test('of a provider, as 206 with data', async () => {
    sandbox.faults.add({ answer: { partial: [{ provider_id: 'coinbase', cause: 'provider_unavailable' }] } });
    expect(await ask('customer-0001', 'GET /assets')).toMatchObject({ status: 206, objection: null });
  });
});

describe('Prism objects', () => {
  const good = { kind: 'send', output: { asset_symbol: 'BTC', amount: '1' } };

  test.each([
    ['without what every transaction has', { ...good, provider_id: undefined }],
    ['without what its kind has', { ...good, output: undefined }],
    ['of a kind that is none of the six', { ...good, kind: 'gift' }],
    ['whose amount is no decimal', { ...good, output: { asset_symbol: 'BTC', amount: '1,5' } }],
    ['whose time is none', { ...good, timestamp: 'yesterday' }],
  ])('to a transaction %s', async (wrong, fields) => {
    data.add('transactions', `good but ${wrong}`, transaction('a', good));
    expect((await ask(`good but ${wrong}`, 'GET /transactions')).objection).toBeNull();
    data.replace('transactions', `good but ${wrong}`, 'a', transaction('a', fields));
    const { status, objection } = await ask(`good but ${wrong}`, 'GET /transactions');
    expect(status).toBe(500);
    expect(objection).toContain('transactions');
  });

  test.each<[string, FaultAnswer]>([
    ['has no data', { rawBody: '{}' }],
    ['is no JSON', { rawBody: '<html>', headers: { 'content-type': 'text/html' } }],
    ['has a code only, as a success', { bodyCode: 603 }],
    ['is a 501, in place of which it makes one up', { status: 501 }],
  ])('to an answer that %s', async (_fault, answer) => {
    sandbox.faults.add({ answer });
    expect((await ask('customer-0001', 'GET /transactions')).objection).not.toBeNull();
  });
});
