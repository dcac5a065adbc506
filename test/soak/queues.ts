/** The queue's server as the soak sees it: what it keeps for whom, and how it is troubled. */
import { Redis } from 'ioredis';
import type pg from 'pg';
import { startRedis } from '../support/servers.ts';

export type QueueSample = {
  /** By kind: `job` for all jobs, the name of what there is one of. On Postgres rows by table. */
  keys: Record<string, number>;
  memoryMb: number;
  /** Redis' clients; 0 where the queue is Postgres, whose connections are counted together. */
  connections: number;
};

export type SoakQueue = {
  url: string;
  sample(): Promise<QueueSample>;
  /** What is done to it every few minutes. */
  troubles: Record<string, () => Promise<unknown>>;
  close(): Promise<void>;
};

/** A Redis of its own; undefined where there is no redis-server in PATH. */
export async function openRedis(prefix: string): Promise<SoakQueue | undefined> {
  const server = await startRedis();
  if (!server) return undefined;
  const redis = new Redis(server.url, { maxRetriesPerRequest: null });
  redis.on('error', () => {}); // the command under way fails with the same
  const others = async () => {
    const own = await redis.client('ID');
    const clients = String(await redis.client('LIST'))
      .trim()
      .split('\n');
    return clients.map((line) => Number(/^id=(\d+)/.exec(line)?.[1])).filter((id) => id !== own);
  };
  return {
    url: server.url,
    sample: async () => ({
      keys: countBy((await redis.keys('*')).map((key) => kindOf(key, prefix))),
      memoryMb: Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]) / 2 ** 20,
      connections: (await others()).length,
    }),
    troubles: {
      FLUSHALL: () => redis.flushall(),
      'all connections to Redis cut': async () => {
        for (const id of await others()) await redis.client('KILL', 'ID', id);
      },
    },
    close: async () => {
      redis.disconnect();
      await server.stop();
    },
  };
}

/** BullMQ's tables in the same Postgres. */
export function openPostgresQueue(url: string, pool: pg.Pool, schema: string): SoakQueue {
  return {
    url,
    sample: async () => {
      const { rows } = await pool.query<{ name: string; rows: number; bytes: string }>(
        `SELECT relname AS name, n_live_tup::int AS rows, pg_total_relation_size(relid) AS bytes
         FROM pg_stat_user_tables WHERE schemaname = $1`,
        [schema],
      );
      const bytes = rows.reduce((sum, row) => sum + Number(row.bytes), 0);
      // The stream of events is one, as on Redis: BullMQ cuts it at 10,000.
      const keys = rows.map((row) => [row.name, row.name === 'event' ? 1 : row.rows] as const);
      return { keys: Object.fromEntries(keys), memoryMb: bytes / 2 ** 20, connections: 0 };
    },
    troubles: {},
    close: async () => {},
  };
}

/** `<prefix>:calico-sync:17` is a job, `…:17:lock` its lock, `…:de:<id>` a customer's place in the queue. */
function kindOf(key: string, prefix: string): string {
  const [first = '', second] = key.replace(`${prefix}:calico-sync:`, '').split(':');
  if (first === 'de') return 'place';
  const isId = /^[\d-]+$|^[0-9a-f-]{36}$/.test(first);
  return isId ? (second ?? 'job') : first;
}

function countBy(kinds: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of kinds) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
