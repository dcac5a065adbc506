/**
 * Where in contract.ts a part of an answer is written, for whoever has to change it. Reads the source text, which ships
 * as it is: constants of schemas, object literals in them, names that stand for other constants.
 */
import { readFileSync } from 'node:fs';
import { type Endpoint, RECORDS_PATH } from './contract.ts';

export const CONTRACT_FILE = 'src/calico/contract.ts';

/** Which constants describe an endpoint's answer, and its records. */
const CONSTANTS: Record<Endpoint, { answer: string; records: string | null }> = {
  refreshAssets: { answer: 'refreshAnswer', records: null },
  refreshTransactions: { answer: 'refreshAnswer', records: null },
  assets: { answer: 'assetsAnswer', records: 'assetPosition' },
  transactions: { answer: 'transactionsAnswer', records: 'transaction' },
  token: { answer: 'tokenAnswer', records: null },
};

/** A stretch of the source: where the thing's name is, and from where to where it is described. */
type Stretch = { at: number; from: number; to: number };

/** Comments are blanked, so that offsets and lines stay. */
const source = readFileSync(new URL('./contract.ts', import.meta.url), 'utf8').replaceAll(
  /\/\*[\s\S]*?\*\/|\/\/.*$/gm,
  (comment) => comment.replaceAll(/[^\n]/g, ' '),
);

/** The line (from 1) of a place of the contract: of its name, or with `members` of the object that lists its fields. */
export function lineOf(endpoint: Endpoint, path: string, part: 'name' | 'members'): number {
  const { answer, records } = CONSTANTS[endpoint];
  const inRecords =
    records === null ? null : `${Object.values(RECORDS_PATH[endpoint as 'assets']).join('.')}[]`;
  const isRecords = inRecords !== null && (path === inRecords || path.startsWith(`${inRecords}.`));
  const start = constant(isRecords ? (records ?? answer) : answer);
  const keys = (isRecords ? path.slice((inRecords ?? '').length + 1) : path).replaceAll('[]', '').split('.');
  let found = start;
  for (const key of keys.filter((key) => key !== '')) {
    found = found && membersOf(describing(found)).get(key);
  }
  const stretch = part === 'members' && found ? describing(found) : found;
  if (!stretch) throw new Error(`${CONTRACT_FILE} has no ${path} of ${endpoint}`);
  return source.slice(0, stretch.at).split('\n').length;
}

function constant(name: string): Stretch | undefined {
  const match = new RegExp(`^(?:export )?const ${name}\\b[^=]*=`, 'm').exec(source);
  if (!match) return undefined;
  const from = match.index + match[0].length;
  // What comes after the first transform is code, not description.
  const end = Math.min(
    ...[';\n', '.transform('].map((text) => source.indexOf(text, from)).filter((at) => at > 0),
  );
  return { at: match.index, from, to: end };
}

/** The stretch with the fields: this one, or that of a constant that it names. */
function describing(stretch: Stretch): Stretch | undefined {
  const text = source.slice(stretch.from, stretch.to);
  if (text.includes('{')) return stretch;
  for (const [name] of text.matchAll(/(?<![.\w])\w+/g)) {
    const named = constant(name);
    const found = named && describing(named);
    if (found) return found;
  }
  return undefined;
}

/** The properties of the first object literal of a stretch. */
function membersOf(stretch: Stretch | undefined): Map<string, Stretch> {
  const members = new Map<string, Stretch>();
  if (!stretch) return members;
  let depth = 0;
  let start = source.indexOf('{', stretch.from) + 1;
  for (let at = start; depth >= 0 && at < source.length; at++) {
    const character = source.charAt(at);
    if ('([{'.includes(character)) depth++;
    if (')]}'.includes(character)) depth--;
    if (depth < 0 || (depth === 0 && character === ',')) {
      const [, space = '', name = '', colon] = /^(\s*)(\w+)(\s*:)?/.exec(source.slice(start, at)) ?? [];
      const named = start + space.length;
      const from = colon ? named + name.length + colon.length : named;
      if (name !== '') members.set(name, { at: named, from, to: at });
      start = at + 1;
    }
  }
  return members;
}
