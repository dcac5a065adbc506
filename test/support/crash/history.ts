/** A customer's history in legs: before each, something changes at Calico; each ends when the customer's run is over. */

import { requestSync } from '../../../src/db/customers.ts';
import type { FaultHandle } from '../../../src/sandbox/faults.ts';
import { DAY_MS, EPOCH_MS, fee, position, transaction, withSource } from '../records.ts';
import type { World } from '../world.ts';

export type Leg = {
  name: string;
  /** Nobody is killed in it, and removals are compared after it. */
  calm?: true;
  /** What happens before the sync, the same for every customer; returns a fault that ends with the leg, if there is one. */
  change(world: World, customerId: string): FaultHandle | undefined | Promise<undefined>;
};

const ALWAYS = Number.POSITIVE_INFINITY;
/** Two pages of positions, three of transactions. */
export const PAGE_LIMIT = 4;

const malformed = { output: { asset_symbol: 'ETH', amount: 'much' } };
const fees = (...amounts: string[]) => ({ fees: { items: amounts.map((amount) => fee(amount)) } });
const older = { timestamp: EPOCH_MS - 30 * DAY_MS };
const kraken = { provider_id: 'kraken' };
/** A number that our contract takes and Postgres refuses: its page is written in halves, over savepoints. */
const poison = (id: string) => withSource(transaction('send', id), 'unknown', '1e400000');

/** Reaches every statement of a sync; what each leg is there for is in its name. */
export const HISTORY: readonly Leg[] = [
  {
    name: 'a first sync: six kinds, fees, duplicates, quarantine',
    change: ({ data }, id) => {
      data.add('assets', id, position('BTC', '1.5'), position('ETH', '2'), position('SOL', '3', kraken));
      data.add('assets', id, position('ADA', '4'), position('DOT', '5'));
      data.add('transactions', id, transaction('send', 'a-old', { ...older, ...fees('1') }));
      data.add('transactions', id, transaction('send', 'b', fees('0.1', '0.2')), transaction('receive', 'c'));
      data.add('transactions', id, transaction('input_only', 'd'), transaction('output_only', 'e', kraken));
      data.add(
        'transactions',
        id,
        transaction('input_output', 'f', fees('0.3')),
        transaction('receive', 'c'),
      );
      data.add('transactions', id, transaction('uncategorized', 'g'), poison('h'), transaction('send', 'i'));
      data.add('transactions', id, transaction('send', 'j', malformed), transaction('receive', 'k'));
      return undefined;
    },
  },
  {
    name: 'a token that ended, moves between kinds, a quarantined record mended',
    change: ({ data, sandbox }, id) => {
      sandbox.tokens.expireAccessTokens(id);
      data.replace('assets', id, 'BTC', position('BTC', '1.25'));
      data.replace('transactions', id, 'b', transaction('output_only', 'b', fees('0.1')));
      data.replace('transactions', id, 'g', transaction('input_output', 'g', fees('7')));
      data.replace('transactions', id, 'j', transaction('send', 'j', fees('8')));
      data.add('transactions', id, transaction('receive', 'l'));
      return undefined;
    },
  },
  {
    name: 'a provider missing from the first page (206), and a poisoned record mended',
    change: ({ data, sandbox }, id) => {
      const answer = { partial: [{ provider_id: 'kraken', cause: 'maintenance' }] };
      const isFirst = ({ query }: { query: Readonly<Record<string, string>> }) => !query['cursor'];
      data.replace('transactions', id, 'h', transaction('send', 'h'));
      data.add('transactions', id, transaction('input_only', 'm'));
      const rule = {
        endpoint: 'transactions',
        customerId: id,
        when: isFirst,
        times: ALWAYS,
        answer,
      } as const;
      return sandbox.faults.add(rule);
    },
  },
  {
    name: 'the provider is back, and Calico fails once',
    change: ({ data, sandbox }, id) => {
      data.add('transactions', id, transaction('send', 'n', kraken), transaction('send', 'o'));
      return sandbox.faults.add({
        endpoint: 'transactions',
        customerId: id,
        page: 2,
        answer: { status: 500 },
      });
    },
  },
  {
    name: 'a full sync: a transaction and a position have disappeared, an old one has moved',
    change: async ({ data, db }, id) => {
      data.remove('transactions', id, 'd');
      data.remove('assets', id, 'DOT');
      data.replace('transactions', id, 'a-old', transaction('uncategorized', 'a-old', older));
      await db.run((orm) => requestSync(orm, [id], 'full', 'manual'));
      return undefined;
    },
  },
  {
    name: 'a cursor that ended: the pages start over',
    change: ({ data, sandbox }, id) => {
      const hasCursor = ({ query }: { query: Readonly<Record<string, string>> }) => 'cursor' in query;
      data.replace('transactions', id, 'i', transaction('receive', 'i'));
      data.add('transactions', id, transaction('uncategorized', 'p'));
      const rule = { endpoint: 'transactions', customerId: id, when: hasCursor } as const;
      return sandbox.faults.add({ ...rule, answer: { status: 400 } });
    },
  },
  {
    name: 'a full sync from its first page to its last in one run, which alone may mark removals',
    calm: true,
    change: async ({ db }, id) => {
      await db.run((orm) => requestSync(orm, [id], 'full', 'manual'));
      return undefined;
    },
  },
];
