/**
 * Root hooks that note how long each file of tests took, for the reporter: with --parallel a file runs in a worker, whose
 * events come all at once when it has ended. Hooks count, since much of the time goes into what suites start and stop.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import type { Context } from 'mocha';

/** The environment variable that names the file to which a line of JSON is added for each file of tests. */
export const fileTimesVariable = 'HOLDFAST_TEST_FILE_TIMES';

/** Of this process and of those that it has waited for, in seconds. Source: proc(5), the times of stat in ticks of 10 ms. */
function observeCpuSeconds(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) / 100, 0);
}

let began: { readonly ms: number; readonly cpuSeconds: number } = { ms: 0, cpuSeconds: 0 };

export const mochaHooks = {
  beforeAll(): void {
    began = { ms: performance.now(), cpuSeconds: observeCpuSeconds() };
  },
  afterAll(this: Context): void {
    const notes = process.env[fileTimesVariable];
    const files = new Set(this.test?.parent?.suites.map(({ file }) => file));
    // Without --parallel all files are one run to mocha.
    if (notes === undefined || files.size !== 1) return;
    const [file] = files;
    const seconds = (performance.now() - began.ms) / 1000;
    const cpuSeconds = observeCpuSeconds() - began.cpuSeconds;
    appendFileSync(notes, `${JSON.stringify({ file, seconds, cpuSeconds })}\n`);
  },
};
