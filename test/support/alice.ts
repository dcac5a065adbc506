import { sends } from './records.ts';
import { createWorld, type World, type WorldOptions } from './world.ts';

/** A world with one customer, alice, who has five transactions, in pages of two. */
export async function createAlice(options: WorldOptions = {}): Promise<World> {
  const world = await createWorld({ ...options, settings: { pageLimit: 2, ...options.settings } });
  world.data.add('transactions', 'alice', ...sends(5));
  await world.addCustomer('alice');
  return world;
}
