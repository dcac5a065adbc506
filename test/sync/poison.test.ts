/** One poisoned record in a hundred: the others land in every run. At full size in test/reliability, its cost in test/bench. */
import { test } from 'vitest';
import { expectSoundOnesLand } from '../support/poison.ts';

test('990 of 1,000 records land in every run, and ten are kept', () => expectSoundOnesLand(1_000));
