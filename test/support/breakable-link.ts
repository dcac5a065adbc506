/**
 * A TCP link to a real server that a test can break, so that one test's outage is nobody else's.
 * It stands between the worker and Redis or Postgres and knows nothing of either's protocol.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface BreakableLink {
  /** The URL given at the start, with this link's address in place of the server's. */
  url: string;
  /** The server is gone: every connection is reset and new ones are refused at once. */
  cut(): void;
  /** Meanwhile the server's process is not there: every connection is reset, and nobody listens (ECONNREFUSED). */
  away(meanwhile: () => Promise<unknown>): Promise<void>;
  /** The server hangs: connections stay open (new ones too) and nothing passes. */
  freeze(): void;
  /** The server is back. What was frozen stays lost: those connections are reset. */
  heal(): void;
  close(): Promise<void>;
}

/**
 * Opens a link on a free local port to the server that `url` names.
 * @param lastWords what is said in the same packet behind an answer of the server's, where that is to be its last
 */
export async function openBreakableLink(
  url: string,
  defaultPort: number,
  lastWords: (answer: Buffer) => Buffer | null = () => null,
): Promise<BreakableLink> {
  const target = new URL(url);
  const host = target.hostname;
  const port = Number(target.port || defaultPort);
  const sockets = new Set<Socket>();
  let state: 'open' | 'cut' | 'frozen' = 'open';

  const resetAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  const track = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  };

  const server = createServer((near) => {
    track(near);
    if (state === 'cut') near.destroy();
    if (state !== 'open') return;
    const far = connect(port, host);
    track(far);
    near.on('data', (chunk) => state === 'open' && far.write(chunk));
    far.on('data', (chunk: Buffer) => {
      if (state !== 'open') return;
      const last = lastWords(chunk);
      if (last === null) near.write(chunk);
      else near.end(Buffer.concat([chunk, last]));
    });
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  target.hostname = '127.0.0.1';
  target.port = String((server.address() as AddressInfo).port);
  target.searchParams.delete('host'); // the directory of a Unix socket, which would lead past the link
  return {
    url: target.href,
    cut() {
      state = 'cut';
      resetAll();
    },
    async away(meanwhile) {
      const { port: own } = server.address() as AddressInfo;
      const closed = once(server, 'close');
      server.close();
      resetAll();
      await closed;
      await meanwhile();
      server.listen(own, '127.0.0.1');
      await once(server, 'listening');
    },
    freeze() {
      state = 'frozen';
    },
    heal() {
      if (state === 'frozen') resetAll();
      state = 'open';
    },
    async close() {
      resetAll();
      server.close();
      await once(server, 'close');
    },
  };
}
