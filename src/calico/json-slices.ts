/**
 * The exact source text of an array's elements inside a JSON text: by it a record is known again that did not change, and in
 * the quarantine what could not be read is kept as it came, byte for byte, not as some parser understood it.
 */

/** Where an array begins and ends (behind its bracket) in a JSON text, and the source texts of its elements. */
export type SlicedArray = { start: number; end: number; sources: string[] };

/**
 * The array at `path` (object keys from the root), in one pass; of a repeated key the last counts, as in JSON.parse. Null where none is there.
 * Of what is not JSON it may say anything.
 */
export function sliceArray(json: string, path: readonly string[]): SlicedArray | null {
  const found: { array: SlicedArray | null } = { array: null };
  walkTo(json, skipSpace(json, 0), path, found);
  return found.array;
}

/** Returns the index behind the value that starts at `at`. */
function walkTo(
  json: string,
  at: number,
  [key, ...rest]: readonly string[],
  found: { array: SlicedArray | null },
): number {
  if (key === undefined && json.charCodeAt(at) === OPEN_BRACKET) {
    found.array = sliceElements(json, at);
    return found.array.end;
  }
  if (key === undefined || json.charCodeAt(at) !== OPEN_BRACE) return endOfValue(json, at);
  let member = skipSpace(json, at + 1);
  while (json.charCodeAt(member) === QUOTE) {
    const nameEnd = endOfString(json, member) + 1;
    const value = skipSpace(json, skipSpace(json, nameEnd) + 1);
    const name = json.slice(member + 1, nameEnd - 1);
    const isIt = name === key || (name.includes('\\') && unescaped(json.slice(member, nameEnd)) === key);
    if (isIt) found.array = null;
    member = skipSpace(json, isIt ? walkTo(json, value, rest, found) : endOfValue(json, value));
    if (json.charCodeAt(member) === COMMA) member = skipSpace(json, member + 1);
  }
  return member + 1;
}

function sliceElements(json: string, start: number): SlicedArray {
  const sources: string[] = [];
  let at = skipSpace(json, start + 1);
  while (at < json.length && json.charCodeAt(at) !== CLOSE_BRACKET) {
    const end = endOfValue(json, at);
    if (end === at) break; // no JSON
    sources.push(json.slice(at, end));
    at = skipSpace(json, end);
    if (json.charCodeAt(at) === COMMA) at = skipSpace(json, at + 1);
  }
  return { start, end: at + 1, sources };
}

/** A name's source text as what it says; null where it is no JSON. */
function unescaped(source: string): string | null {
  try {
    return JSON.parse(source);
  } catch {
    return null;
  }
}

function skipSpace(json: string, from: number): number {
  let at = from;
  while (isSpace(json.charCodeAt(at))) at++;
  return at;
}

/** The same JSON with `null` for every array and object that lies deeper than `levels`. */
export function cutDeep(json: string, levels: number): string {
  const kept: string[] = [];
  let depth = 0;
  let from = 0;
  for (let at = 0; at < json.length; at++) {
    const character = json[at];
    if (character === '"') at = endOfString(json, at);
    else if (character === '}' || character === ']') depth--;
    else if (character === '{' || character === '[') {
      if (depth < levels) depth++;
      else {
        kept.push(json.slice(from, at), 'null');
        from = endOfValue(json, at);
        at = from - 1;
      }
    }
  }
  return kept.join('') + json.slice(from);
}

/** Index behind the value that starts at `from`; a loop and a counter, so that depth costs no stack. */
function endOfValue(json: string, from: number): number {
  let depth = 0;
  for (let at = from; at < json.length; at++) {
    const unit = json.charCodeAt(at);
    if (unit === QUOTE) {
      at = endOfString(json, at);
      if (depth === 0) return at + 1;
    } else if (unit === OPEN_BRACE || unit === OPEN_BRACKET) depth++;
    else if (unit === CLOSE_BRACE || unit === CLOSE_BRACKET) {
      if (depth === 0) return at;
      depth--;
      if (depth === 0) return at + 1;
    } else if (depth === 0 && (unit === COMMA || isSpace(unit))) return at;
  }
  return json.length;
}

/** Index of the quote that ends the string which begins at `open`: the next one with an even number of backslashes before it. */
function endOfString(json: string, open: number): number {
  for (let at = json.indexOf('"', open + 1); at >= 0; at = json.indexOf('"', at + 1)) {
    let before = at;
    while (json.charCodeAt(before - 1) === BACKSLASH) before--;
    if ((at - before) % 2 === 0) return at;
  }
  return json.length;
}

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];
/** RFC 8259, 2: nothing else is white space in JSON. */
const isSpace = (unit: number) => unit === 0x20 || unit === 0x0a || unit === 0x0d || unit === 0x09;
