/** The ways to write a page's rows: as they are, as new ones without a look, or in halves where Postgres refuses one. */
import type { Transaction } from '../db/client.ts';
import { DatabaseError } from '../db/errors.ts';
import type { PageOwner } from '../db/transactions.ts';
import type { Candidate, GlancedPage, PreparedPage, Refused, StreamWritten } from './prepare.ts';

export type WriteResult = StreamWritten & { refused: Refused[] };
type Write = () => Promise<WriteResult>;
/** A page that was looked at, and what writes it. */
export type OpenPage = { prepared: PreparedPage; write: Write };
/** Looks at what a page meets, in a statement or two at most. */
export type OpenWrite = (tx: Transaction, owner: PageOwner) => Promise<OpenPage>;

/** Looks, and writes. */
export const openWhole =
  (prepared: PreparedPage): OpenWrite =>
  async (tx, owner) => {
    const write = await prepared.look(tx, owner, prepared.candidates);
    return { prepared, write: async () => withConflicts(prepared, await write()) };
  };

/** Looks, reads what does not stand as it came, and looks and writes as far as something is left. */
export const openGlanced =
  (glanced: GlancedPage): OpenWrite =>
  async (tx, owner) =>
    openWhole(await glanced.look(tx, owner.customerId))(tx, owner);

/** Writes without a look. */
export const openNew =
  (prepared: PreparedPage, writeNew: NonNullable<PreparedPage['writeNew']>): OpenWrite =>
  async (tx, owner) => ({ prepared, write: async () => ({ ...writeNew(tx, owner), refused: [] }) });

/**
 * Finds the refused rows one after the other. Where Postgres names the row, those without it are tried first: two attempts
 * for one poisoned row of a hundred. Else, of candidates that fail together the first half is tried: where it is
 * sound it is written, and the fault is in the second, else the fault is in it. What follows a row that was found is tried
 * as a whole again, so that it costs nine.
 */
export const openBisecting =
  (prepared: PreparedPage, refusal: DatabaseError): OpenWrite =>
  async (tx, owner) => ({ prepared, write: () => writeBisecting(tx, owner, prepared, refusal) });

async function writeBisecting(
  tx: Transaction,
  owner: PageOwner,
  prepared: PreparedPage,
  refusal: DatabaseError,
): Promise<WriteResult> {
  let written: WriteResult = { ...NONE_WRITTEN, refused: [] };
  const attempt = async (candidates: readonly Candidate[]): Promise<DatabaseError | null> => {
    try {
      const more = await tx.savepoint(async () => {
        const write = await prepared.look(tx, owner, candidates);
        const landed = await write();
        await landed.answered;
        return landed;
      });
      written = merge(written, withConflicts(prepared, more));
      return null;
    } catch (error) {
      if (isRefusedValue(error)) return error;
      throw error;
    }
  };

  // All together failed already: that is why they are here.
  let left: readonly Candidate[] = prepared.candidates;
  const suspects = new Set<Candidate>();
  for (let error: DatabaseError | null = refusal; error; ) {
    const { customerId } = owner;
    const others = left.filter((candidate) => !suspects.has(candidate));
    const named = others.filter(({ key }) => error?.mayMean([customerId, ...(JSON.parse(key) as string[])]));
    if (named.length === 0) break;
    for (const candidate of named) suspects.add(candidate);
    error = await attempt(others.filter((candidate) => !suspects.has(candidate)));
    if (!error) left = [...suspects];
  }
  do {
    let faulty = left;
    while (faulty.length > 1) {
      const half = faulty.slice(0, Math.ceil(faulty.length / 2));
      const isSound = (await attempt(half)) === null;
      if (isSound) left = left.slice(half.length);
      faulty = isSound ? faulty.slice(half.length) : half;
    }
    const [only] = faulty;
    const error = await attempt(faulty);
    if (error && only) written = merge(written, poison(only, error));
    left = left.slice(1);
  } while (left.length > 0 && (await attempt(left)) !== null);
  return written;
}

/** Did Postgres refuse a value, so that the rest may land without it? */
export function isRefusedValue(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && error.kind === 'data';
}

const NONE_WRITTEN: StreamWritten = {
  inserted: 0,
  updated: 0,
  unchanged: 0,
  conflicts: [],
  answered: Promise.resolve(),
};

function poison({ index, key }: Candidate, error: DatabaseError): WriteResult {
  const problems = [{ path: '', message: error.message }];
  const refused = [{ index, key, problems, inConflict: false }];
  return { ...NONE_WRITTEN, refused };
}

function withConflicts({ conflict }: PreparedPage, written: StreamWritten): WriteResult {
  const problems = [{ path: '', message: conflict }];
  return { ...written, refused: written.conflicts.map((at) => ({ ...at, problems, inConflict: true })) };
}

function merge(a: WriteResult, b: WriteResult): WriteResult {
  return {
    inserted: a.inserted + b.inserted,
    updated: a.updated + b.updated,
    unchanged: a.unchanged + b.unchanged,
    answered: a.answered,
    conflicts: [...a.conflicts, ...b.conflicts],
    refused: [...a.refused, ...b.refused],
  };
}
