import { DrizzleQueryError } from 'drizzle-orm';
import pg from 'pg';

/**
 * What a database failure means to its caller:
 * `unavailable` the server is gone, starting or full: later · `conflict` run the same transaction again ·
 * `data` a value that cannot be stored: no retry helps · `schema` migrations are missing · `other` a defect or a right
 * that is missing.
 */
export type DatabaseErrorKind = 'unavailable' | 'conflict' | 'data' | 'schema' | 'other';

/** A database failure, without the statement's parameters: drizzle's own message holds every one of them. */
export class DatabaseError extends Error {
  readonly kind: DatabaseErrorKind;
  /** Five characters of the PostgreSQL manual, appendix A; null where the server never answered. */
  readonly sqlState: string | null;

  /** The row that broke a constraint as Postgres shows it. Private, so that no log line and no message has it. */
  readonly #failingRow: string;

  constructor(kind: DatabaseErrorKind, sqlState: string | null, message: string, failingRow = '') {
    super(message);
    this.name = 'DatabaseError';
    this.kind = kind;
    this.sqlState = sqlState;
    this.#failingRow = failingRow;
  }

  /** Is the server gone, or on its way: was nothing heard, rather than refused? */
  get isSilence(): boolean {
    return this.kind === 'unavailable' && /^(08|57P)/.test(this.sqlState ?? '08');
  }

  /** May the row that was refused begin with these columns? A hint: not every refusal names a row, and long values are cut. */
  mayMean(columns: readonly string[]): boolean {
    return this.#failingRow.startsWith(`${columns.map(asShown).join(', ')}, `);
  }
}

/** Postgres shows 64 bytes of a value (ExecBuildSlotValueDescription in its execMain.c). */
function asShown(value: string): string {
  if (Buffer.byteLength(value) <= 64) return value;
  const cut = new TextDecoder().decode(Buffer.from(value).subarray(0, 64), { stream: true });
  return `${cut}...`;
}

const FAILING_ROW = /^Failing row contains \((.*)\)\.$/s;

/** First match wins: whole SQLSTATEs before their classes. */
const KINDS: readonly (readonly [prefix: string, kind: DatabaseErrorKind])[] = [
  ['40001', 'conflict'], // serialization_failure
  ['40P01', 'conflict'], // deadlock_detected
  ['55P03', 'conflict'], // lock_not_available
  ['57014', 'conflict'], // query_canceled (statement timeout)
  ['3F000', 'schema'], // invalid_schema_name
  ['42P01', 'schema'], // undefined_table
  ['42703', 'schema'], // undefined_column
  ['08', 'unavailable'], // connection exceptions
  ['53', 'unavailable'], // insufficient resources: disk full, out of memory, too many connections
  ['57', 'unavailable'], // operator intervention: shutdown, crash, cannot connect now
  ['58', 'unavailable'], // system errors: I/O
  ['25006', 'unavailable'], // read-only transaction: a replica, or a fail-over under way
  ['25P03', 'unavailable'], // idle in a transaction for too long: the session was ended
  ['22', 'data'], // data exceptions: out of range, bad text, bad JSON
  ['23', 'data'], // constraint violations
  ['21000', 'data'], // cardinality violation: the same key twice in one statement
  ['54', 'data'], // program limits: an index row too large, JSON nested too deep
];

/** What Postgres' own words do not make plain to everybody who reads a dead letter. */
const IN_PLAIN_WORDS: Readonly<Record<string, string>> = {
  '40001': 'another transaction was in the way',
  '40P01': 'another transaction was in the way',
  '53100': 'no disk space is left',
  '53200': 'it is out of memory',
  '53300': 'no connection is left; see max_connections',
  '57P03': 'it is starting or shutting down',
};

/** Translates whatever `pg` or drizzle threw, once, where it was born. Anything that is not theirs is passed through. */
export function toDatabaseError(error: unknown): unknown {
  const cause = error instanceof DrizzleQueryError ? error.cause : error;
  if (cause instanceof DatabaseError) return cause;
  if (cause instanceof pg.DatabaseError) {
    const sqlState = cause.code ?? null;
    const kind = KINDS.find(([prefix]) => sqlState?.startsWith(prefix))?.[1] ?? 'other';
    const failingRow = FAILING_ROW.exec(cause.detail ?? '')?.[1];
    const message = `Postgres: ${describe(cause, kind)} (SQLSTATE ${sqlState})`;
    return new DatabaseError(kind, sqlState, message, failingRow);
  }
  if (isConnectionFailure(cause)) {
    return new DatabaseError('unavailable', null, `Postgres cannot be reached: ${cause.message}`);
  }
  return error instanceof DrizzleQueryError
    ? new DatabaseError('other', null, 'Postgres: a query failed before it was sent')
    : error;
}

/** Did a statement fail by `calico.refuse` (migration 0005), because of what it found? */
export function isRefused(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === 'CS001';
}

/** Did a statement fail because a row like it is there, by this unique index? */
export function isTaken(error: unknown, index: string): boolean {
  return error instanceof pg.DatabaseError && error.code === '23505' && error.constraint === index;
}

/** A data exception's message quotes the value ("invalid input syntax for type numeric: …"): it stays out. */
function describe(error: pg.DatabaseError, kind: DatabaseErrorKind): string {
  const plain = IN_PLAIN_WORDS[error.code ?? ''];
  if (plain) return `${plain}: ${error.message}`;
  if (kind !== 'data') return error.message;
  const where = error.constraint ?? error.column ?? error.table;
  return where ? `a value was refused by ${where}` : 'a value was refused';
}

function isConnectionFailure(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  if (error instanceof AggregateError) return error.errors.some(isConnectionFailure);
  const code = 'code' in error ? String(error.code) : '';
  return (
    /^(ECONN|ENOTFOUND|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|CERT|ERR_SSL|ERR_TLS)/.test(code) ||
    /^(Connection terminated|Query read timeout|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed)/.test(
      error.message,
    )
  );
}
