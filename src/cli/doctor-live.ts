/** `doctor --live <customer>`: what Calico answers for one customer now, compared with the contract field by field. */
import { openCalico } from '../app.ts';
import type { CalicoClient } from '../calico/client.ts';
import { compareAnswer, type Finding } from '../calico/compare.ts';
import { type Endpoint, RECORDS_PATH } from '../calico/contract.ts';
import { CalicoError } from '../calico/errors.ts';
import { isObject } from '../calico/json.ts';
import type { Limiter } from '../calico/limiter.ts';
import { RESPONSE_RULES, situationOf } from '../calico/response-codes.ts';
import type { Orm } from '../db/client.ts';
import { readExpiry } from '../db/credentials.ts';
import { findCustomer } from '../db/customers.ts';
import { readFleetPause } from '../db/fleet-pause.ts';
import { openBudget } from '../queue/budget.ts';
import { openQueueConnection } from '../queue/connection.ts';
import { type Courier, createCourier } from '../sync/courier.ts';
import { unknownCustomer } from './customers.ts';
import { driftRemark } from './doctor-checks.ts';
import { failure } from './explain.ts';
import { count, formatTime, shellWord } from './format.ts';
import { type Colour, plain, say, sayJson, sayTable } from './output.ts';
import { commandLog, settings, withDatabase } from './session.ts';

/** Why an endpoint gave no answer to compare, and what to do. */
type Problem = { problem: string; next: string };
/** What one endpoint answered. `records` null: its answers hold none. */
type Look = { endpoint: Endpoint; records: number | null; findings: Finding[] } & (
  | Problem
  | { problem: null; next: null }
);

/**
 * Asks each endpoint once in the customer's name, writes no row but a token that had to be refreshed, and fails where an
 * endpoint did not answer or its answer would be refused.
 */
export async function runDoctorLive(customerId: string, { json }: { json?: boolean }): Promise<void> {
  const config = settings('database', 'queue', 'credentials', 'calico', 'sync');
  const looks = await withDatabase(config, async (db) => {
    await db.run((orm) => refuseWithoutTokens(orm, customerId));
    await db.run(refuseInPause);
    const source = openCalico(config, db);
    const budget = openBudget({
      connection: openQueueConnection(config.queue.QUEUE_URL, config.queue.QUEUE_PREFIX),
      perSecond: config.calico.CALICO_RATE_LIMIT,
      log: commandLog,
    });
    const answers = new Map<Endpoint, Pick<Look, 'records' | 'findings'>>();
    const client = watched(paced(source.client, budget), answers);
    const courier = createCourier({ ...source, client }, customerId, new AbortController().signal);
    const problems = await askAll(courier, customerId, config.sync.CALICO_PAGE_LIMIT).finally(budget.close);
    const endpoints = new Set([...problems.keys(), ...answers.keys()]);
    return [...endpoints].map(
      (endpoint): Look => ({
        endpoint,
        ...(problems.get(endpoint) ?? { problem: null, next: null }),
        ...(answers.get(endpoint) ?? { records: null, findings: [] }),
      }),
    );
  });
  if (json) sayJson({ customerId, endpoints: looks });
  else for (const look of looks) sayLook(look);
  const names = (some: readonly Look[]) => some.map(({ endpoint }) => endpoint).join(', ');
  const differing = looks.filter(({ findings }) => findings.some(isBreaking));
  if (differing.length > 0) {
    throw failure(
      `${names(differing)}: not what the contract says. Next: correct the lines named here, then npm test`,
    );
  }
  const [first] = looks.filter(({ problem }) => problem !== null);
  if (!first) return;
  const unanswered = names(looks.filter(({ problem }) => problem !== null));
  throw failure(`${unanswered}: no answer to compare. Next: ${plain(first.next ?? '')}`);
}

async function refuseWithoutTokens(orm: Orm, customerId: string): Promise<void> {
  if (!(await findCustomer(orm, customerId))) throw unknownCustomer(customerId);
  if (await readExpiry(orm, customerId)) return;
  throw failure(
    `There are no tokens for ${plain(customerId)}. Next: calico-sync customers add ${shellWord(customerId)}`,
  );
}

/** A command is as polite as a worker (promise 10). */
async function refuseInPause(orm: Orm): Promise<void> {
  const pause = await readFleetPause(orm);
  if (!pause) return;
  throw failure(
    `All workers wait for Calico, and so does this: ${plain(pause.reason)}. Next: again ${formatTime(pause.until, Date.now())}`,
  );
}

/** Takes each request's place in the budget of all workers. */
function paced(client: CalicoClient, { acquire }: Limiter): CalicoClient {
  return {
    send: async (request) => {
      await acquire(request.signal);
      return client.send(request);
    },
  };
}

/** Compares each success with the contract as it passes; of several the last counts. */
function watched(
  client: CalicoClient,
  answers: Map<Endpoint, Pick<Look, 'records' | 'findings'>>,
): CalicoClient {
  return {
    send: async (request) => {
      const answer = await client.send(request);
      const findings = compareAnswer(request, answer.body);
      answers.set(request.endpoint, { records: countRecords(request.endpoint, answer.body), findings });
      return answer;
    },
  };
}

/** Every endpoint once; what keeps one from an answer does not keep the others, unless it is the token. */
async function askAll(
  courier: Courier,
  customerId: string,
  limit: number,
): Promise<Map<Endpoint, Problem | null>> {
  const page = { cursor: null, limit, startTime: null };
  const asked = new Map<Endpoint, () => Promise<unknown>>([
    ['refreshAssets', () => courier.refresh('refreshAssets')],
    ['refreshTransactions', () => courier.refresh('refreshTransactions')],
    ['assets', () => courier.page({ ...page, endpoint: 'assets' })],
    ['transactions', () => courier.page({ ...page, endpoint: 'transactions' })],
  ]);
  const problems = new Map<Endpoint, Problem | null>();
  for (const [endpoint, ask] of asked) {
    try {
      await ask();
      problems.set(endpoint, null);
    } catch (error) {
      if (!(error instanceof CalicoError)) throw error;
      const { failure: happened } = error;
      const rule = RESPONSE_RULES[situationOf(happened)][happened.endpoint];
      problems.set(happened.endpoint, {
        problem: `${rule.sentence} (${error.message})`,
        next: rule.nextStep.replaceAll('<id>', shellWord(customerId)),
      });
      if (happened.endpoint === 'token') break;
    }
  }
  return problems;
}

function countRecords(endpoint: Endpoint, body: unknown): number | null {
  if (endpoint !== 'assets' && endpoint !== 'transactions') return null;
  let at = body;
  for (const key of RECORDS_PATH[endpoint]) at = isObject(at) ? at[key] : undefined;
  return Array.isArray(at) ? at.length : null;
}

/** Differences for which a record or an answer is refused. */
function isBreaking({ kind }: Finding): boolean {
  return kind === 'missing_field' || kind === 'type_changed';
}

const WORDS: Record<Exclude<Finding['kind'], 'never_there'>, { words: string; colour: Colour }> = {
  missing_field: { words: 'missing', colour: 'red' },
  type_changed: { words: 'differently typed', colour: 'red' },
  unknown_value: { words: 'new value', colour: 'yellow' },
  unknown_field: { words: 'new', colour: 'yellow' },
  more: { words: 'more of the same', colour: 'yellow' },
};

type Difference = Finding & { kind: keyof typeof WORDS };
const isDifference = (finding: Finding): finding is Difference => finding.kind !== 'never_there';

function sayLook({ endpoint, records, problem, findings }: Look): void {
  const differences = findings.filter(isDifference);
  const verdict = differences.length === 0 ? 'as the contract says' : count(differences.length, 'difference');
  const looked = records === null ? '' : `, ${count(records, 'record')} looked at`;
  say(`${endpoint}: ${problem === null ? `${verdict}${looked}.` : plain(problem)}`);
  if (differences.length > 0) {
    sayTable<Difference>(
      [
        { title: '', cell: () => '' },
        { title: 'what', cell: ({ kind }) => WORDS[kind].words, colour: ({ kind }) => WORDS[kind].colour },
        { title: 'where', cell: ({ path }) => path || 'the answer' },
        { title: 'times', cell: (difference) => String(difference.count), align: 'right' },
        { title: 'change', cell: ({ file, line }) => `${file}:${line}` },
      ],
      differences,
      driftRemark,
    );
  }
  const unseen = findings.filter((finding) => !isDifference(finding));
  if (unseen.length === 0) return;
  const places = unseen.map(({ path, line }) => `${path} (line ${line})`).join(', ');
  say(`  in the contract, and in none of this: ${places}`);
}
