/** Looking for drift costs next to nothing beside normalizing. vitest's own loading of modules would double it. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { reportFigures } from '../support/figures.ts';

const RECORDS = 20_000;
/** Of the time that normalizing takes. Measured: 0.035 to 0.05, by how busy the machine is. */
const MOST = 0.1;

test('a record without drift costs little beside its normalizing', async () => {
  const script = fileURLToPath(new URL('./drift-cost.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [script]);
  const { records, normalizeUs, driftUs } = JSON.parse(stdout);
  expect(records).toBe(RECORDS);
  expect(driftUs / normalizeUs, stdout).toBeLessThan(MOST);
  reportFigures({
    tried: 'Each record is compared with the contract before it is normalized',
    often: `${RECORDS.toLocaleString('en')} records`,
    result: `costs less than ${MOST * 100} % of the normalizing`,
  });
});
