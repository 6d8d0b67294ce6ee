/**
 * How store and controller grow with the number of containers, which are simulated, and how they bear a storm of crash
 * loops. Effects: a process for each measurement, with the flags of bin/holdfast.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { alignColumns } from './report.ts';

export interface ScaleFigures {
  readonly count: number;
  /** From the first spec applied until all run and nothing is left to do. */
  readonly createMs: number;
  /** Right after all were created and looked at anew, with the garbage of that. */
  readonly rssBytes: number;
  /** After restMs without a request. */
  readonly restedRssBytes: number;
  /** A new controller, until it has listed and looked at every container. */
  readonly resyncMs: number;
  /** A changed limit, until the runtime is told. */
  readonly changeMs: number;
  readonly changeP99Ms: number;
}

export interface StormFigures {
  readonly count: number;
  readonly restartsPerSecond: number;
  readonly lagP99Ms: number;
  /** A healthy container ends, until it is started again. */
  readonly healMs: number;
  readonly healP99Ms: number;
}

/** V8 gives back what it does not need when nothing has happened for some seconds. */
export const restMs = 15_000;

interface Row {
  readonly figure: string;
  readonly atMost?: number;
  readonly of: (figures: ScaleFigures) => number;
}

const rows: readonly Row[] = [
  { figure: 'all applied until they run (s)', of: ({ createMs }) => createMs / 1_000 },
  { figure: 'memory of store and controller, RSS (MB)', atMost: 400, of: ({ rssBytes }) => rssBytes / 1e6 },
  {
    figure: `… after ${restMs / 1_000} s of rest`,
    atMost: 400,
    of: ({ restedRssBytes }) => restedRssBytes / 1e6,
  },
  { figure: 'full resync by a new controller (ms)', atMost: 2_000, of: ({ resyncMs }) => resyncMs },
  { figure: 'a spec change until the runtime has it (ms), median', of: ({ changeMs }) => changeMs },
  { figure: 'a spec change until the runtime has it (ms), p99', atMost: 50, of: ({ changeP99Ms }) => changeP99Ms },
];

const sizes = [100, 1_000, 10_000];
const stormSize = 1_000;
const deadlineMs = 20 * 60_000;

/** Measures and returns the table. Throws with what a measurement said when it failed. */
export async function measureScale(say: (line: string) => void): Promise<string> {
  const columns: ScaleFigures[] = [];
  for (const size of sizes) {
    say(`${size} simulated containers`);
    // What the worker prints is what its own types say.
    columns.push((await runWorker('scale', size)) as ScaleFigures);
  }
  say(`${stormSize} simulated crash loops`);
  const storm = (await runWorker('storm', stormSize)) as StormFigures;
  return `${formatScale(columns)}\n\n${formatStorm(storm)}`;
}

async function runWorker(what: 'scale' | 'storm', count: number): Promise<unknown> {
  const launcher = readFileSync(join(import.meta.dirname, '../../bin/holdfast'), 'utf8');
  const flags = /^memory="(.*)"$/m.exec(launcher)?.[1]?.split(' ') ?? [];
  const worker = join(import.meta.dirname, 'scale-worker.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, worker, what, String(count)], {
    timeout: deadlineMs,
    env: { ...process.env, MALLOC_ARENA_MAX: '2' },
  });
  return JSON.parse(stdout);
}

/** Pure. The targets are judged at the largest number. */
export function formatScale(columns: readonly ScaleFigures[]): string {
  const table = [
    ['simulated containers', 'target', ...columns.map(({ count }) => String(count)), 'met'],
    ...rows.map(({ figure, atMost, of }) => {
      const last = columns.at(-1);
      const isMet = atMost !== undefined && last !== undefined && of(last) <= atMost;
      return [
        figure,
        atMost === undefined ? '' : `at most ${atMost}`,
        ...columns.map((one) => of(one).toFixed(1)),
        atMost === undefined ? '' : isMet ? 'yes' : 'NO',
      ];
    }),
  ];
  return alignColumns(table);
}

function formatStorm({ count, restartsPerSecond, lagP99Ms, healMs, healP99Ms }: StormFigures): string {
  const verdict = lagP99Ms <= 100 ? 'met' : 'NOT met';
  return [
    `${count} simulated crash loops, ${restartsPerSecond.toFixed(0)} restarts a second:`,
    `  event loop lag p99 ${lagP99Ms.toFixed(1)} ms (at most 100: ${verdict})`,
    `  a healthy container that ends is started again after ${healMs.toFixed(1)} ms (p99 ${healP99Ms.toFixed(1)})`,
  ].join('\n');
}
