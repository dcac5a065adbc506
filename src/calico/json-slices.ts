/**
 * The exact source text of an array's elements inside a JSON text, for the quarantine: what could not be read is kept
 * as it came, byte for byte, not as some parser understood it. Runs only when a record was refused.
 */

/**
 * Source texts of the elements of the array at `path` (object keys from the root).
 * `json` must be valid JSON that holds an array there; of a repeated key the last counts, as in JSON.parse.
 */
export function sliceArrayElements(json: string, path: readonly string[]): string[] {
  let at = skipSpace(json, 0);
  for (const key of path) {
    let found = -1;
    for (const [name, start] of objectMembers(json, at)) if (name === key) found = start;
    if (found < 0) throw new Error(`no ${path.join('.')} in this JSON`);
    at = found;
  }
  const elements: string[] = [];
  if (json[at] !== '[') throw new Error(`${path.join('.')} is not an array`);
  at = skipSpace(json, at + 1);
  while (json[at] !== ']') {
    const end = endOfValue(json, at);
    elements.push(json.slice(at, end));
    at = skipSpace(json, end);
    if (json[at] === ',') at = skipSpace(json, at + 1);
  }
  return elements;
}

function* objectMembers(json: string, open: number): Generator<[name: string, valueStart: number]> {
  let at = skipSpace(json, open + 1);
  while (json[at] !== '}' && at < json.length) {
    const nameEnd = endOfValue(json, at);
    const valueStart = skipSpace(json, skipSpace(json, nameEnd) + 1);
    yield [JSON.parse(json.slice(at, nameEnd)), valueStart];
    at = skipSpace(json, endOfValue(json, valueStart));
    if (json[at] === ',') at = skipSpace(json, at + 1);
  }
}

function skipSpace(json: string, from: number): number {
  let at = from;
  while (/\s/.test(json.charAt(at))) at++;
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
    const character = json[at];
    if (character === '"') {
      at = endOfString(json, at);
      if (depth === 0) return at + 1;
    } else if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') {
      if (depth === 0) return at;
      depth--;
      if (depth === 0) return at + 1;
    } else if (depth === 0 && (character === ',' || /\s/.test(character ?? ''))) return at;
  }
  return json.length;
}

function endOfString(json: string, open: number): number {
  let at = open + 1;
  while (at < json.length && json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
  return at;
}
