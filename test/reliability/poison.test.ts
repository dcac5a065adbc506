import { test } from 'vitest';
import { reportFigures } from '../support/figures.ts';
import { expectSoundOnesLand } from '../support/poison.ts';

const RECORDS = 10_000;

test('9,900 of 10,000 records land in every run, and a hundred are kept', async () => {
  await expectSoundOnesLand(RECORDS);
  reportFigures({
    tried: 'One record of a hundred is refused by the contract, its kind, Postgres or every reader',
    often: `${RECORDS.toLocaleString('en')} records, twice`,
    result: 'all 9,900 others land in both runs, and the 100 are kept with their text',
  });
});
