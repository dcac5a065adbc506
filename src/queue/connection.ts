/**
 * How to reach the queue, on Redis or on Postgres. Everything that differs between the two is here, except the verb
 * that gives way to others (processor.ts). The URL holds a password: it stays inside these functions.
 */
import {
  assertSchemaCompatibility,
  type BackendFactory,
  createPostgresBackend,
  createRedisBackend,
  type IQueueBackend,
  LATEST_SCHEMA_VERSION,
  PostgresQueueBackend,
  runMigrations,
  SchemaMigrationRequiredError,
} from 'bullmq';
import pg from 'pg';
import {
  type BudgetStore,
  type BudgetWindow,
  createBudgetTable,
  postgresBudgetStore,
  redisBudgetStore,
} from './budget-store.ts';
import { within } from './deadline.ts';
import { HeardClient } from './heard-client.ts';
import { messageOf } from './outage.ts';

/**
 * ioredis 6 has a class that extends String (resp/verbatim-string.js), which makes String.prototype a dictionary to V8: from then
 * on each call of a string's method is looked up anew, and reading a page's numbers takes four times as long. What makes it
 * fast again is that an inline cache, which a function has from some hundred calls on, reads a member of the prototype itself.
 */
function mendStrings(): void {
  const read = () => String.prototype.charCodeAt;
  for (let calls = 0; calls < 5_000; calls++) read();
}
mendStrings();

/** No answer for this long is an outage. A healthy queue on one network answers in 1 to 10 ms. */
export const ANSWER_TIMEOUT_MS = 5_000;

export interface QueueConnection {
  readonly kind: 'redis' | 'postgres';
  /** Scheme, host and database: what logs and errors may show. */
  readonly where: string;
  /** Opens one queue's or worker's own connections; to BullMQ "the connection" is only the text of `where`. */
  readonly backend: BackendFactory<IQueueBackend, string>;
  /** Throws one sentence and the next step when the queue cannot work: not reachable, not migrated. */
  check(): Promise<void>;
  /** Where all processes together count their requests. */
  openBudgetStore(window: BudgetWindow): BudgetStore;
}

/**
 * Reads a queue's URL; opens nothing yet.
 * @param prefix keeps installations apart: the prefix of Redis keys, or the Postgres schema (a plain identifier).
 */
export function openQueueConnection(queueUrl: string, prefix: string): QueueConnection {
  const { kind, where } = readUrl(queueUrl);
  if (kind === 'postgres') {
    return {
      kind,
      where,
      backend: postgresBackend(queueUrl, prefix),
      check: () => checkSchema(queueUrl, prefix),
      openBudgetStore: (window) => postgresBudgetStore(queueUrl, prefix, window),
    };
  }
  return {
    kind,
    where,
    backend: redisBackend(queueUrl, prefix),
    check: async () => undefined,
    openBudgetStore: (window) => redisBudgetStore(queueUrl, prefix, window),
  };
}

/** Creates or upgrades the queue's schema in Postgres, under advisory locks; Redis needs none. */
export async function migrateQueue(queueUrl: string, prefix: string): Promise<void> {
  if (readUrl(queueUrl).kind === 'redis') return;
  await withClient(queueUrl, async (client) => {
    await runMigrations(client, prefix);
    await createBudgetTable(client, prefix);
  });
}

/**
 * Waits until a queue or worker has its connections, or says in one sentence why it has none.
 * BullMQ's Postgres backend remembers a failed first connection for ever: after this throws, make a new one.
 */
export async function becomeReady(
  queue: {
    waitUntilReady(): Promise<unknown>;
    on(event: 'error', listener: (error: Error) => void): unknown;
  },
  connection: QueueConnection,
): Promise<void> {
  let latest = `no answer within ${ANSWER_TIMEOUT_MS} ms`;
  queue.on('error', (error) => {
    latest = messageOf(error);
  });
  const unreachable = (reason: string) =>
    new Error(`The queue at ${connection.where} cannot be reached: ${reason}`);
  try {
    await within(ANSWER_TIMEOUT_MS, queue.waitUntilReady(), () => {
      throw new Error(latest);
    });
  } catch (error) {
    throw unreachable(messageOf(error));
  }
}

function redisBackend(url: string, prefix: string): QueueConnection['backend'] {
  const shared = {
    url,
    connectTimeout: ANSWER_TIMEOUT_MS,
    // BullMQ's own waits grow to 20 s, which is how late a worker would notice that Redis is back.
    retryStrategy: (attempt: number) => Math.min(attempt * 200, 2_000),
  };
  // A producer fails at once rather than queueing commands in memory: the tick asks again in seconds.
  const producer = {
    ...shared,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    socketTimeout: ANSWER_TIMEOUT_MS,
  };
  // A worker waits for ever, as BullMQ demands. Its longest read blocks for 10 s and BullMQ's watchdog adds 1 s, so a
  // socket silent for 15 s is dead: without this a half-open connection is noticed after TCP's quarter of an hour.
  const worker = { ...shared, maxRetriesPerRequest: null, socketTimeout: 15_000 };
  return (name, options, role) => {
    const redis = { ...options, prefix, connection: role?.withBlockingConnection ? worker : producer };
    return createRedisBackend(name, redis, role);
  };
}

function postgresBackend(connectionString: string, schema: string): QueueConnection['backend'] {
  const connection = { ...clientOptions(connectionString), schema, max: POOL_SIZE, Client: HeardClient };
  return (name, options, role) => {
    const backend = createPostgresBackend(name, { ...options, connection }, role);
    // The connection that LISTENs is none of the pool's: BullMQ makes it, anew whenever it breaks, of the module it has loaded.
    if (backend instanceof PostgresQueueBackend)
      Object.assign(backend.connection, { pgModule: { Client: HeardClient } });
    return backend;
  };
}

/** Connections a queue or a worker holds; a worker has one more for LISTEN. */
const POOL_SIZE = 4;

function clientOptions(connectionString: string) {
  return {
    connectionString,
    connectionTimeoutMillis: ANSWER_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    keepAlive: true,
    application_name: 'calico-sync queue',
  };
}

async function checkSchema(url: string, schema: string): Promise<void> {
  const next = 'Run `calico-sync migrate`.';
  const version = await withClient(url, (client) => assertSchemaCompatibility(client, schema)).catch(
    (error) => {
      if (!(error instanceof SchemaMigrationRequiredError)) throw error;
      throw new Error(`The queue's schema "${schema}" is not in Postgres. ${next}`);
    },
  );
  if (version < LATEST_SCHEMA_VERSION) {
    throw new Error(`The queue's schema "${schema}" is older than this version of calico-sync. ${next}`);
  }
}

async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(clientOptions(url));
  let broken: unknown;
  client.on('error', (error) => {
    broken ??= error;
  });
  try {
    await client.connect().catch((error) => {
      broken = error;
      throw error;
    });
    return await use(client);
  } catch (error) {
    if (broken === undefined) throw error;
    throw new Error(`The queue at ${readUrl(url).where} cannot be reached: ${messageOf(broken)}`);
  } finally {
    await client.end().catch(() => undefined);
  }
}

function readUrl(queueUrl: string): Pick<QueueConnection, 'kind' | 'where'> {
  // Node's own "Invalid URL" error carries the text it could not read, password included.
  const url = URL.parse(queueUrl);
  const kind = url && KINDS[url.protocol];
  if (!kind) throw new Error('QUEUE_URL must be a redis://, rediss://, postgres:// or postgresql:// URL.');
  return { kind, where: `${url.protocol}//${url.host}${url.pathname}` };
}

const KINDS: Record<string, QueueConnection['kind'] | undefined> = {
  'redis:': 'redis',
  'rediss:': 'redis',
  'postgres:': 'postgres',
  'postgresql:': 'postgres',
};
