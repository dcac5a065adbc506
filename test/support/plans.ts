/**
 * The plans by which Postgres runs what is sent to it, as `auto_explain` tells them: a door before Postgres that reads its
 * notices ("Error and Notice Message Fields"), so that what is tested neither knows of it nor is written down twice.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';

/** A node of a plan; with `analyze` also what it met. */
export type PlanNode = {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Index Cond'?: string;
  'Actual Rows'?: number;
  'Rows Removed by Filter'?: number;
  'Shared Hit Blocks'?: number;
  'Shared Read Blocks'?: number;
  Plans?: PlanNode[];
};

export type Planned = { text: string; plan: PlanNode };

export type PlanDoor = {
  url: string;
  /** What was planned since it was asked last. */
  take(): Planned[];
  close(): Promise<void>;
};

/**
 * Opens a door to the server of `databaseUrl`, for a superuser without TLS. `analyze`: what each node really met, too.
 * `settings` hold for every connection through it.
 */
export async function openPlanDoor(
  databaseUrl: string,
  { analyze = false, settings = {} }: { analyze?: boolean; settings?: Record<string, string> } = {},
): Promise<PlanDoor> {
  const planned: Planned[] = [];
  const target = new URL(databaseUrl);
  const server = createServer((client) => {
    const postgres = connect(Number(target.port || 5432), target.hostname);
    const answered = noticesOf((notice) => {
      const [, json] = /^duration: .* plan:\n(.*)$/s.exec(notice) ?? [];
      if (!json) return;
      const { 'Query Text': text, Plan: plan } = JSON.parse(json) as { 'Query Text': string; Plan: PlanNode };
      planned.push({ text, plan });
    });
    client.pipe(postgres).on('data', answered).pipe(client);
    for (const socket of [client, postgres]) {
      socket.setNoDelay(true);
      socket.on('error', () => [client, postgres].map((one) => one.destroy()));
      socket.on('close', () => [client, postgres].map((one) => one.destroy()));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  url.searchParams.delete('host'); // of a Unix socket, which would be preferred
  const all = {
    session_preload_libraries: 'auto_explain',
    'auto_explain.log_min_duration': '0',
    'auto_explain.log_level': 'notice',
    'auto_explain.log_format': 'json',
    'auto_explain.log_nested_statements': 'on',
    'auto_explain.log_analyze': analyze ? 'on' : 'off',
    'auto_explain.log_buffers': analyze ? 'on' : 'off',
    ...settings,
  };
  const options = Object.entries(all).map(([name, value]) => `-c ${name}=${value}`);
  url.searchParams.set('options', options.join(' '));
  const close = async () => {
    server.close();
    await once(server, 'close');
  };
  return { url: url.href, take: () => planned.splice(0), close };
}

/** All nodes of a plan, itself first. */
export function nodesOf(plan: PlanNode): PlanNode[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
}

const NOTICE = 'N'.charCodeAt(0);
const MESSAGE = 'M'.charCodeAt(0);

/** Calls `onNotice` with the text of each notice, however messages are cut into chunks. */
function noticesOf(onNotice: (text: string) => void) {
  let rest = Buffer.alloc(0);
  return (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length >= 1 + rest.readInt32BE(1)) {
      const end = 1 + rest.readInt32BE(1);
      if (rest[0] === NOTICE) {
        const fields = rest.subarray(5, end).toString().split('\0');
        const text = fields.find((field) => field.charCodeAt(0) === MESSAGE);
        if (text) onNotice(text.slice(1));
      }
      rest = rest.subarray(end);
    }
  };
}
