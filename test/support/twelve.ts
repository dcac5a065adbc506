/** Alice and her twelve transactions on three pages, and what may become of them while their pages are walked. */
import type { Paging } from './moving-data.ts';
import { createMovingWorld, type Item, PAGE_LIMIT, recordOf, rowsOf, syncOnce } from './moving-histories.ts';
import { EPOCH_MS } from './records.ts';

/** Three pages, t11 the latest. */
export const SIZE = 3 * PAGE_LIMIT;
export const id = (index: number) => `t${String(index).padStart(2, '0')}`;
export const item = (index: number): Item => ({ timestamp: EPOCH_MS + index * 1000, amount: '1' });

/** They are at Calico, and nothing of them is here. `sync` counts the pages that it asks for, and says so before each answer. */
export async function createTwelve(paging: Paging) {
  const moving = await createMovingWorld(() => paging);
  const { world, data, watch } = moving;
  const indexes = Array.from({ length: SIZE }, (_none, index) => index);
  data.add('transactions', 'alice', ...indexes.map((index) => recordOf(id(index), item(index))));
  await world.addCustomer('alice');
  const sync = async (onPage: (page: number) => void = () => {}, mode: 'full' | 'incremental' = 'full') => {
    let requests = 0;
    watch('alice', (page) => {
      requests = page;
      onPage(page);
    });
    return { ...(await syncOnce(world, 'alice', mode)), requests };
  };
  return {
    ...moving,
    sync,
    ids: async () => Object.keys(await rowsOf(world, 'alice')),
    move: (index: number, to: number) =>
      data.replace('transactions', 'alice', id(index), recordOf(id(index), item(to))),
    /** At its own place, or where the one `at` that place would be. */
    add: (index: number, at = index) => data.add('transactions', 'alice', recordOf(id(index), item(at))),
    remove: (index: number) => data.remove('transactions', 'alice', id(index)),
  };
}
