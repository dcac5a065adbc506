/** A Postgres that ends connections in the very packet that makes them, as one does that is shut down just then. */
import { type BreakableLink, openBreakableLink } from './breakable-link.ts';

export type EarlyEndingLink = BreakableLink & {
  /** Each connection that is made from now on is ended with it, or none. */
  endEarly(does: boolean): void;
  /** How many were. */
  ended(): number;
};

/** Opens a link to the Postgres at `url` that ends nothing yet. */
export async function openEarlyEndingLink(url: string): Promise<EarlyEndingLink> {
  let endsEarly = false;
  let ended = 0;
  const link = await openBreakableLink(url, 5432, (answer) => {
    if (!endsEarly || !answer.includes(READY)) return null;
    ended++;
    return SHUT_DOWN;
  });
  return {
    ...link,
    endEarly: (does) => {
      endsEarly = does;
    },
    ended: () => ended,
  };
}

/** A message of Postgres' ("Message Formats", 55.7). */
function message(type: string, body: string): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, Buffer.from(body)]);
}

const READY = message('Z', 'I');
const FIELDS = ['SFATAL', 'VFATAL', 'C57P01', 'Mterminating connection due to administrator command', ''];
const SHUT_DOWN = message('E', `${FIELDS.join('\0')}\0`);
