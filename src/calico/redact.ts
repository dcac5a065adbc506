/**
 * Takes secrets out of whatever becomes evidence. A server that echoes a request (an error page, a debug header) may do
 * so in the spelling of its own format, so the common ones are known. It is no match for one that hides them on purpose;
 * such a server has them anyway.
 */

export type Redactor = {
  redact(text: string): string;
  /** The beginning of a body as text, at most `maxBytes` of it; no part of a secret that the cut divides is left. */
  quote(bytes: Uint8Array, maxBytes: number): string;
};

const MARK = '[secret]';
/** "/" may be as long as "&#x002f;", and a byte beyond ASCII as "%C3". */
const LONGEST_SPELLING = 8;

export function createRedactor(secrets: readonly string[]): Redactor {
  // The longest first: of "abc" and "abcdef" the second must not leave "def".
  const sorted = secrets.filter((secret) => secret !== '').sort((a, b) => b.length - a.length);
  const [longest = ''] = sorted;
  if (longest === '') return { redact: (text) => text, quote: (bytes, max) => decode(bytes, max) };
  const pattern = new RegExp(sorted.map(patternOf).join('|'), 'gi');
  const reach = Buffer.byteLength(longest) * LONGEST_SPELLING;
  return {
    redact: (text) => text.replace(pattern, MARK),
    quote: (bytes, maxBytes) => {
      const text = decode(bytes, maxBytes + reach);
      let end = decode(bytes, maxBytes).length;
      for (const { index, 0: found } of text.matchAll(pattern)) {
        if (index < end && index + found.length > end) end = index;
      }
      return text.slice(0, end).replace(pattern, MARK);
    },
  };
}

function decode(bytes: Uint8Array, maxBytes: number): string {
  return new TextDecoder().decode(bytes.subarray(0, maxBytes));
}

/** Letters and digits are written alike everywhere; the rest as it is or in the escapes of JSON, URLs and HTML. */
function patternOf(secret: string): string {
  return Array.from(secret, (character) =>
    /[a-z0-9]/i.test(character) ? character : `(?:${spellingsOf(character).join('|')})`,
  ).join('');
}

function spellingsOf(character: string): string[] {
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  const raw = character.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&');
  const percent = [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`);
  return [
    `\\\\?${raw}`,
    `\\\\u${hex.padStart(4, '0')}`,
    percent.join(''),
    `&#x0*${hex};`,
    `&#0*${code};`,
    ...(character in HTML_NAMES ? [`&${HTML_NAMES[character]};`] : []),
  ];
}

const HTML_NAMES: Record<string, string> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot', "'": 'apos' };
