/**
 * A door before Postgres that counts round trips by its protocol (PostgreSQL, "Message Formats"): how often the client says
 * something while the server owes it nothing. However many statements go out together, that is one.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';

export type CountingDoor = { url: string; roundTrips(): number; close(): Promise<void> };

/** Opens a door to the server of `databaseUrl`, for clients without TLS. */
export async function openCountingDoor(databaseUrl: string): Promise<CountingDoor> {
  let trips = 0;
  const target = new URL(databaseUrl);
  const server = createServer((client) => {
    const postgres = connect(Number(target.port || 5432), target.hostname);
    let owed = 0;
    const asked = typesOf({ startup: true }, (type) => {
      if (type !== 'Q' && type !== 'S') return;
      if (owed === 0) trips++;
      owed++;
    });
    const answered = typesOf({ startup: false }, (type) => {
      if (type === 'Z') owed = Math.max(0, owed - 1); // the first one ends the login, which nobody counted
    });
    client.on('data', asked).pipe(postgres).on('data', answered).pipe(client);
    for (const socket of [client, postgres]) {
      socket.setNoDelay(true);
      socket.on('error', () => [client, postgres].map((one) => one.destroy()));
      socket.on('close', () => [client, postgres].map((one) => one.destroy()));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  url.searchParams.delete('host'); // the directory of a Unix socket, which would lead past the door
  const close = async () => {
    server.close();
    await once(server, 'close');
  };
  return { url: url.href, roundTrips: () => trips, close };
}

/** Calls `onType` with each message's type byte, however messages are cut into chunks; the startup message has none. */
function typesOf({ startup }: { startup: boolean }, onType: (type: string) => void) {
  let isStartup = startup;
  let head = Buffer.alloc(0);
  let skip = 0;
  return (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; ) {
      if (skip > 0) {
        const skipped = Math.min(skip, chunk.length - at);
        skip -= skipped;
        at += skipped;
        continue;
      }
      const size = isStartup ? 4 : 5;
      const part = chunk.subarray(at, at + size - head.length);
      head = Buffer.concat([head, part]);
      at += part.length;
      if (head.length < size) continue;
      skip = head.readInt32BE(size - 4) - 4;
      if (!isStartup) onType(String.fromCharCode(head[0] ?? 0));
      isStartup = false;
      head = Buffer.alloc(0);
    }
  };
}
