import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';

/** One webhook request as it came. */
export type Received = { headers: IncomingHttpHeaders; id: string; path: string; body: string };

export type Answer = { status: number; headers?: Record<string, string> };

/** A user's application: an HTTP server that takes webhooks and answers as the test says. */
export type Receiver = {
  url: string;
  received: Received[];
  /** From now on; 204 at first. A promise that never settles is a receiver that hangs. */
  answer: (request: Received) => Answer | Promise<Answer>;
};

/** For the test that is running. Its path and query are a secret of the receiver's. */
export async function startReceiver(): Promise<Receiver> {
  const server = createServer(async (request, response) => {
    const { headers, url: path = '' } = request;
    const got = { headers, id: String(headers['webhook-id']), path, body: await text(request) };
    receiver.received.push(got);
    const answer = await receiver.answer(got);
    response.writeHead(answer.status, answer.headers).end('an answer that nobody reads');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });
  const { port } = server.address() as AddressInfo;
  const receiver: Receiver = {
    url: `http://127.0.0.1:${port}/hooks/PathSecret?key=QuerySecret`,
    received: [],
    answer: () => ({ status: 204 }),
  };
  return receiver;
}
