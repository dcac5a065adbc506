/** A process that plays seeds on a stage of its own, one after the other: those it is told, until its parent has no more. */
import { live } from './life.ts';
import { openStage } from './stage.ts';

const [databaseUrl] = process.argv.slice(2);
if (databaseUrl !== undefined && process.send) {
  const stage = await openStage(databaseUrl);
  process.on('message', async (seed: number) => process.send?.(await live(stage, seed)));
  process.once('disconnect', () => void stage.close());
  process.send('ready');
}
