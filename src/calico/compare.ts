/** An answer beside the contract, field by field: how it differs, and what the contract has that was nowhere in it. */
import type { Request } from './client.ts';
import { ANSWER_SHAPES, placesOf, type Shape } from './contract-shape.ts';
import { CONTRACT_FILE, lineOf } from './contract-source.ts';
import { type Drift, type DriftKind, driftIn } from './drift.ts';
import { isObject } from './json.ts';

/** `never_there`: an optional field of the contract that none of the `count` objects had that could have it. */
export type Finding = Pick<Drift, 'path' | 'detail' | 'count' | 'sample'> & {
  kind: DriftKind | 'never_there';
  /** Where the contract says otherwise. */
  file: string;
  line: number;
};

/** Compares one answer; the worst first. */
export function compareAnswer(
  request: Pick<Request, 'endpoint' | 'bearer' | 'secrets'>,
  body: unknown,
): Finding[] {
  const { endpoint } = request;
  const shape = ANSWER_SHAPES[endpoint];
  const differing = driftIn(request, body).map(({ endpoint: _of, ...drift }): Finding => {
    // A name that is not in the contract belongs where its neighbours are.
    const isNew = drift.kind === 'unknown_field';
    const line = isNew
      ? lineOf(endpoint, ownerOf(shape, drift.path), 'members')
      : lineOf(endpoint, drift.path, 'name');
    return { ...drift, file: CONTRACT_FILE, line };
  });
  const tally: Tally = { asked: new Map(), seen: new Set() };
  look(shape, body, tally);
  const absent = [...placesOf(shape)].flatMap((place): Finding[] => {
    const count = tally.asked.get(place) ?? 0;
    if (count === 0 || tally.seen.has(place) || !place.optional) return [];
    const line = lineOf(endpoint, place.path, 'name');
    return [
      { kind: 'never_there', path: place.path, detail: '', count, sample: null, file: CONTRACT_FILE, line },
    ];
  });
  return [...differing, ...absent].sort((a, b) => RANK[a.kind] - RANK[b.kind]);
}

const RANK: Record<Finding['kind'], number> = {
  missing_field: 0,
  type_changed: 1,
  unknown_value: 2,
  unknown_field: 3,
  more: 4,
  never_there: 5,
};

/** The object of the contract that an unknown name was found in: the longest path that this one begins with. */
function ownerOf(shape: Shape, path: string): string {
  const owners = [...placesOf(shape)].filter(({ path: owner, fields }) => {
    const isWithin = owner === '' || (path.startsWith(owner) && /^[.[]/.test(path.slice(owner.length)));
    return fields.size > 0 && isWithin;
  });
  return owners.reduce((longest, { path: owner }) => (owner.length > longest.length ? owner : longest), '');
}

/** For each field how many objects could have it, and which fields some object had. */
type Tally = { asked: Map<Shape, number>; seen: Set<Shape> };

function look(shape: Shape, value: unknown, tally: Tally): void {
  if (Array.isArray(value) && shape.items) {
    for (const item of value) look(shape.items, item, tally);
  } else if (isObject(value)) {
    for (const [name, field] of shape.fields) {
      tally.asked.set(field, (tally.asked.get(field) ?? 0) + 1);
      if (!Object.hasOwn(value, name)) continue;
      tally.seen.add(field);
      look(field, value[name], tally);
    }
  }
}
