/** Cursors: opaque to clients, signed, good only for the question that they were made for. */
import { createHmac, timingSafeEqual } from 'node:crypto';

export interface CursorOptions {
  /** Signs cursors; the same key accepts them again after a restart. */
  readonly key: string;
  readonly now: () => number;
  /** How long a cursor is good; null for ever, and then equal pages have equal cursors. */
  readonly ttlMs: number | null;
}

export interface CursorCodec {
  /**
   * A cursor for a position (null: the start) in the answer to a question. `unlike` makes it differ from
   * every other cursor of that position.
   */
  encode(question: string, position: string | null, unlike?: number): string;
  /** The position; undefined when the cursor is malformed, forged, expired, or for another question. */
  decode(question: string, cursor: string): string | null | undefined;
}

const tagBytes = 12;

/** Makes cursors of base64url: a tag over question and payload, then the payload `[position, time of issue, salt]`. */
export function createCursorCodec({ key, now, ttlMs }: CursorOptions): CursorCodec {
  const tagOf = (text: string): Buffer =>
    createHmac('sha256', key).update(text).digest().subarray(0, tagBytes);
  return {
    encode: (question, position, unlike) => {
      const payload = JSON.stringify([position, ttlMs === null ? 0 : now(), unlike ?? 0]);
      return Buffer.concat([tagOf(question + payload), Buffer.from(payload)]).toString('base64url');
    },
    decode: (question, cursor) => {
      const bytes = Buffer.from(cursor, 'base64url');
      if (bytes.length <= tagBytes || bytes.toString('base64url') !== cursor) return undefined;
      const payload = bytes.subarray(tagBytes).toString();
      if (!timingSafeEqual(bytes.subarray(0, tagBytes), tagOf(question + payload))) return undefined;
      const [position, issuedAtMs] = JSON.parse(payload) as [string | null, number, number];
      return ttlMs !== null && now() >= issuedAtMs + ttlMs ? undefined : position;
    },
  };
}
