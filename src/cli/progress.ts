/** Follows runs to their end: a bar on a terminal, plain lines elsewhere. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Presets, SingleBar } from 'cli-progress';
import type { Database, Orm } from '../db/client.ts';
import { readFleetPause } from '../db/fleet-pause.ts';
import { type Asked, type RunProgress, readProgress } from '../db/run-progress.ts';
import { count, formatTime } from './format.ts';
import { note, plain } from './output.ts';

const POLL_MS = 200;
/** Without a terminal a line is due after so much more is done, or so much time. */
const LINE_EVERY = { share: 0.1, ms: 10_000 };

/** Nothing begun after this long: whoever waits should know why. Twice what a worker's tick takes at most. */
const HINT_AFTER_MS = 15_000;

/** Whose runs; `signal` ends the watching, not the runs. */
export type Followed = Asked & { signal?: AbortSignal };

/** Shows progress on stderr until every run has ended or `signal` says to look away; returns where they stood then. */
export async function followRuns(db: Database, { signal, ...asked }: Followed): Promise<RunProgress> {
  const show = process.stderr.isTTY ? showBar() : showLines();
  let hintAtMs = Date.now() + HINT_AFTER_MS;
  try {
    for (;;) {
      const progress = await db.run((orm) => readProgress(orm, asked));
      show.update(progress);
      if (progress.ended >= progress.customers || signal?.aborted) return progress;
      if (Date.now() >= hintAtMs) {
        hintAtMs = Infinity;
        if (progress.begun + progress.leased + progress.held === 0) note(await db.run(whyNobodyBegan));
      }
      await sleep(POLL_MS, undefined, { ...(signal ? { signal } : {}) }).catch(() => {});
    }
  } finally {
    show.end();
  }
}

/** Why no worker has taken anything up for a while. */
export async function whyNobodyBegan(orm: Orm): Promise<string> {
  const pause = await readFleetPause(orm);
  if (!pause) return NO_WORKER;
  return `  All workers wait for Calico, since ${formatTime(pause.since, Date.now())}: ${plain(pause.reason)}`;
}

const NO_WORKER = '  No worker has taken it up so far. Next, where none runs: calico-sync worker';

type Show = { update(progress: RunProgress): void; end(): void };

function showBar(): Show {
  const format = '  {bar} {value}/{total} customers, {pages} pages, {records} records, {duration_formatted}';
  const bar = new SingleBar({ format, hideCursor: true, stream: process.stderr }, Presets.shades_classic);
  bar.start(1, 0, { pages: 0, records: 0 });
  return {
    update: ({ customers, ended, pages, records }) => {
      bar.setTotal(customers);
      bar.update(ended, { pages, records });
    },
    end: () => bar.stop(),
  };
}

function showLines(): Show {
  let shown = { ended: -1, atMs: 0 };
  return {
    update: ({ customers, ended, pages, records }) => {
      const isDue =
        ended >= customers ||
        ended - shown.ended >= customers * LINE_EVERY.share ||
        Date.now() - shown.atMs >= LINE_EVERY.ms;
      if (!isDue) return;
      shown = { ended, atMs: Date.now() };
      note(
        `  ${ended}/${count(customers, 'customer')}, ${count(pages, 'page')}, ${count(records, 'record')}`,
      );
    },
    end: () => {},
  };
}
