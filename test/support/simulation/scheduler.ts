/**
 * Lets several workers run in one process so that one of them moves at a time: each stops at a gate before every effect on
 * the outside, and the seed says who goes on. What happens is then a function of the seed and not of the machine.
 * Where a worker waits in Postgres for a lock that a stopped one holds, Postgres is asked, and another goes on meanwhile.
 */

/** What a gate says: go on, or what goes wrong there. */
export type Order = { do: 'go' } | { do: 'die' } | { do: 'stop' } | { do: 'fail'; how: string };

export type Actor = {
  readonly name: string;
  /** Whose turn it is. */
  readonly customerId: string;
  /** The gate it stands at; null while it moves. */
  at: Gate | null;
  /** Killed: it passes no gate any more. */
  dead: boolean;
};

/** `committed`: between Postgres' commit and its worker hearing of it; `answer`: between Calico's answer and its reader. */
export type GateKind = 'statement' | 'committed' | 'request' | 'answer';
type Gate = { kind: GateKind; name: string; pass(order: Order): void };

export type Scheduler = {
  /** Those under way, the one that began first first. */
  actors(): readonly Actor[];
  /** Those who stand at a gate. */
  ready(): readonly Actor[];
  /** Begins a piece of work, up to its first gate. */
  start(name: string, customerId: string, work: (actor: Actor) => Promise<void>): Promise<void>;
  /** Stops the actor here until it is its turn. */
  gate(actor: Actor, kind: GateKind, name: string): Promise<Order>;
  /** Lets one actor go on, until it stands at its next gate, waits for a lock or is done. */
  step(actor: Actor, order: Order): Promise<void>;
  /** Where all wait for locks, until Postgres has ended one of them: it looks for deadlocks after a second. */
  untilUnlocked(): Promise<void>;
};

/** Longer than nearly every statement takes: then Postgres is asked whether it waits for a lock. */
const LOOK_AFTER_MS = 8;

/** `countLockWaits`: connections of the workers that wait for a lock right now. */
export function createScheduler(countLockWaits: () => Promise<number>): Scheduler {
  const actors = new Set<Actor>();
  let broken: unknown = null;
  let changes = 0;
  let onChange = () => {};
  /** How many waited for locks when last nobody moved. */
  let locked = 0;

  const changed = () => {
    changes++;
    onChange();
  };
  const moving = () => [...actors].filter(({ at }) => at === null).length;

  /** Until nobody moves; whoever waits for a lock does not, and stays so until another has gone on. */
  async function settle(): Promise<void> {
    for (let lookAfterMs = LOOK_AFTER_MS; moving() > 0; ) {
      const before = changes;
      // Those who waited before are most likely the ones that do; else it takes as long as a statement until there is anything to see.
      if (moving() !== locked) {
        // Alone, nobody waits for another's lock.
        if (await changesWithin(actors.size > 1 ? lookAfterMs : null)) continue;
        lookAfterMs *= 2;
      }
      locked = await countLockWaits();
      if (changes === before && locked === moving()) return;
      if (changes === before) locked = 0;
    }
    locked = 0;
    if (broken !== null) throw broken;
  }

  /** `ms` null: however long it takes. */
  function changesWithin(ms: number | null): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = ms === null ? undefined : setTimeout(() => resolve(false), ms);
      onChange = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  return {
    actors: () => [...actors],
    ready: () => [...actors].filter(({ at }) => at !== null),
    start: async (name, customerId, work) => {
      const actor: Actor = { name, customerId, at: null, dead: false };
      actors.add(actor);
      void work(actor)
        .catch((error: unknown) => {
          broken ??= error;
        })
        .finally(() => {
          actors.delete(actor);
          changed();
        });
      await settle();
    },
    gate: (actor, kind, name) =>
      new Promise((resolve, reject) => {
        if (actor.at !== null) {
          reject(new Error(`${actor.name} stands at ${actor.at.name} and came to ${name}`));
          return;
        }
        const pass = (order: Order) => {
          actor.at = null;
          resolve(order);
        };
        actor.at = { kind, name, pass };
        changed();
      }),
    step: async (actor, order) => {
      actor.at?.pass(order);
      await settle();
    },
    untilUnlocked: async () => {
      const before = changes;
      while (changes === before) await changesWithin(LOOK_AFTER_MS);
      await settle();
    },
  };
}
