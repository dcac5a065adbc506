/**
 * A door before Postgres that counts by its protocol (PostgreSQL, "Message Formats"). Statements: a prepared one by its name,
 * any other by its first word and the first table of ours in it. Round trips: how often the client says something while the
 * server owes it nothing. However many statements go out together, that is one.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';

export type CountingDoor = {
  url: string;
  statements(): readonly string[];
  roundTrips(): number;
  close(): Promise<void>;
};

/**
 * Turns of the event loop, which client and door share, without a word of either side before an answer is let through: what the client
 * has said together comes in pieces, and Postgres answers the first before the last has come.
 */
const QUIET_TURNS = 5;

/** Opens a door to the server of `databaseUrl`, for clients without TLS. */
export async function openCountingDoor(databaseUrl: string): Promise<CountingDoor> {
  let trips = 0;
  const statements: string[] = [];
  const target = new URL(databaseUrl);
  const server = createServer((client) => {
    const postgres = connect(Number(target.port || 5432), target.hostname);
    let owed = 0;
    let parsed = '';
    const asked = messagesIn({ startup: true }, (type, head) => {
      const [one = '', two = ''] = head.split('\0');
      if (type === 'P') parsed = two;
      if (type === 'Q') statements.push(verbOf(one));
      if (type === 'B') statements.push(two || verbOf(parsed));
      if (type !== 'Q' && type !== 'S') return;
      if (owed === 0) trips++;
      owed++;
    });
    const answered = messagesIn({ startup: false }, (type) => {
      if (type === 'Z') owed = Math.max(0, owed - 1); // the first one ends the login, which nobody counted
    });
    let quietTurns = 0;
    let held: Buffer[] = [];
    const deliver = () => {
      if (quietTurns++ < QUIET_TURNS) {
        setImmediate(deliver);
        return;
      }
      const answers = Buffer.concat(held);
      held = [];
      answered(answers);
      client.write(answers);
    };
    client.on('data', (chunk) => {
      quietTurns = 0;
      asked(chunk);
      // Not piped: while Postgres reads slowly, what the client has said already must be counted all the same.
      postgres.write(chunk);
    });
    postgres.on('data', (chunk) => {
      quietTurns = 0;
      if (held.push(chunk) === 1) deliver();
    });
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
  return { url: url.href, statements: () => statements, roundTrips: () => trips, close };
}

function verbOf(text: string): string {
  const [, verb = '', table] = /^\s*(\w+)(?:.*?"?calico"?\."?(\w+))?/s.exec(text) ?? [];
  return table ? `${verb} ${table}` : verb;
}

/** Of a message; names and the beginning of a text. */
const HEAD_BYTES = 300;

/** Calls `onMessage` with each message's type and how it begins, however messages are cut into chunks; not for the startup message. */
function messagesIn({ startup }: { startup: boolean }, onMessage: (type: string, head: string) => void) {
  let isStartup = startup;
  let pending = Buffer.alloc(0);
  let skip = 0;
  return (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; ) {
      if (skip > 0) {
        const skipped = Math.min(skip, chunk.length - at);
        skip -= skipped;
        at += skipped;
        continue;
      }
      const lead = isStartup ? 4 : 5;
      const length = () => pending.readInt32BE(lead - 4) + lead - 4;
      const wanted = pending.length < lead ? lead : Math.min(length(), lead + HEAD_BYTES);
      const part = chunk.subarray(at, at + wanted - pending.length);
      pending = Buffer.concat([pending, part]);
      at += part.length;
      if (pending.length < lead || pending.length < Math.min(length(), lead + HEAD_BYTES)) continue;
      skip = length() - pending.length;
      if (!isStartup) onMessage(String.fromCharCode(pending[0] ?? 0), pending.toString('utf8', lead));
      isStartup = false;
      pending = Buffer.alloc(0);
    }
  };
}
