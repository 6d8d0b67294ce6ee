/**
 * Mocha's spec reporter, which besides tells where the time went, names last what failed (all that is seen
 * where only the end of an output is kept), and writes the runner's own counts as JSON to the file that
 * HOLDFAST_TEST_RESULTS names, for .ci/run.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import Mocha from 'mocha';
import { fileTimesVariable } from './file-times.ts';

const slowestFilesTold = 10;
const slowestTestsTold = 10;
const failuresTold = 12;
/** Of the beginning and of the end of what a failure says: what was expected, and what was logged last. */
const reasonCharsTold = 300;

export default class CountingReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const dir = mkdtempSync(join(tmpdir(), 'holdfast-test-times-'));
    const times = join(dir, 'times');
    writeFileSync(times, '');
    process.env[fileTimesVariable] = times;
    const tests: Mocha.Test[] = [];
    runner.on(Mocha.Runner.constants.EVENT_TEST_END, (test: Mocha.Test) => tests.push(test));
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      tellSlowestTests(tests);
      tellSlowestFiles(readFileSync(times, 'utf8'));
      rmSync(dir, { recursive: true });
      tellFailures(this.failures);
      const file = process.env.HOLDFAST_TEST_RESULTS;
      if (file === undefined || file === '') return;
      const { passes, failures, pending } = this.stats;
      writeFileSync(file, JSON.stringify({ stats: { passes, failures, pending } }));
    });
  }
}

function tellSlowestTests(tests: readonly Mocha.Test[]): void {
  if (tests.length === 0) return;
  const lines = [...tests]
    .sort((one, other) => (other.duration ?? 0) - (one.duration ?? 0))
    .slice(0, slowestTestsTold)
    .map((test) => `  ${((test.duration ?? 0) / 1000).toFixed(1).padStart(6)} s  ${placeOf(test)}`);
  console.log(`\n  The slowest tests:\n${lines.join('\n')}`);
}

const placeOf = (test: Mocha.Test): string =>
  `${relative(process.cwd(), test.file ?? '')}: ${test.titlePath().join(': ')}`;

function tellSlowestFiles(times: string): void {
  const files = times
    .split('\n')
    .filter((line) => line !== '')
    .map((line): { file: string; seconds: number; cpuSeconds: number } => JSON.parse(line));
  if (files.length === 0) return;
  const lines = files
    .sort((one, other) => other.seconds - one.seconds)
    .slice(0, slowestFilesTold)
    .map(({ file, seconds, cpuSeconds }) => {
      const [time, cpu] = [seconds, cpuSeconds].map((value) => `${value.toFixed(1).padStart(6)} s`);
      return `  ${time}  ${cpu}  ${relative(process.cwd(), file)}`;
    });
  console.log(`\n  The slowest files (by the clock, and of a processor):\n${lines.join('\n')}`);
}

/** One line each; the whole of them is further up. */
function tellFailures(failures: readonly Mocha.Test[]): void {
  if (failures.length === 0) return;
  const lines = failures.slice(0, failuresTold).map((test) => {
    const reason = String(test.err?.message ?? test.err).replaceAll(/\s+/g, ' ');
    const isLong = reason.length > 2 * reasonCharsTold;
    const told = isLong ? `${reason.slice(0, reasonCharsTold)} … ${reason.slice(-reasonCharsTold)}` : reason;
    return `  ${placeOf(test)}: ${told}`;
  });
  if (failures.length > failuresTold) lines.push(`  and ${failures.length - failuresTold} more, see above`);
  console.log(`\n  What failed:\n${lines.join('\n')}`);
}
