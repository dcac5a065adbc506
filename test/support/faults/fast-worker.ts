/** The command `worker` as it is, but for the pace of its clocks, the only argument as JSON. */
import { leave } from '../../../src/cli/output.ts';
import { runWorker } from '../../../src/cli/services.ts';

const [pace] = process.argv.slice(2);
if (pace !== undefined) {
  await runWorker(JSON.parse(pace));
  await leave(0);
}
