import { test } from 'vitest';
import { expectSoundOnesLand } from '../support/poison.ts';

test('9,900 of 10,000 records land in every run, and a hundred are kept', () => expectSoundOnesLand(10_000));
