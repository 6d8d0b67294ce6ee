/**
 * Root hooks that note how long each file of tests took, for the reporter: with --parallel a file runs in a worker, whose
 * events come all at once when it has ended. Hooks count, since much of the time goes into what suites start and stop.
 */
import { appendFileSync } from 'node:fs';
import type { Context } from 'mocha';

/** The environment variable that names the file to which a line of JSON is added for each file of tests. */
export const fileTimesVariable = 'HOLDFAST_TEST_FILE_TIMES';

let beganMs = 0;

export const mochaHooks = {
  beforeAll(): void {
    beganMs = performance.now();
  },
  afterAll(this: Context): void {
    const notes = process.env[fileTimesVariable];
    const files = new Set(this.test?.parent?.suites.map(({ file }) => file));
    // Without --parallel all files are one run to mocha.
    if (notes === undefined || files.size !== 1) return;
    const [file] = files;
    appendFileSync(notes, `${JSON.stringify({ file, ms: Math.round(performance.now() - beganMs) })}\n`);
  },
};
