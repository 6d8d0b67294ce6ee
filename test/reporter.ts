/**
 * Mocha's spec reporter, which besides writes the runner's own counts as JSON to the file that HOLDFAST_TEST_RESULTS names,
 * for .ci/run.
 */
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

export default class CountingReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const file = process.env.HOLDFAST_TEST_RESULTS;
    if (file === undefined || file === '') return;
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures, pending } = this.stats;
      writeFileSync(file, JSON.stringify({ stats: { passes, failures, pending } }));
    });
  }
}
