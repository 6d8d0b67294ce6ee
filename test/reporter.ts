/**
 * Mocha's spec reporter, which besides tells where the time went, file by file, and writes the runner's own counts as JSON
 * to the file that HOLDFAST_TEST_RESULTS names, for .ci/run.
 */
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import Mocha from 'mocha';

const slowestFilesTold = 25;

export default class CountingReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    this.#tellSlowestFiles(runner);
    const file = process.env.HOLDFAST_TEST_RESULTS;
    if (file === undefined || file === '') return;
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures, pending } = this.stats;
      writeFileSync(file, JSON.stringify({ stats: { passes, failures, pending } }));
    });
  }

  /** Hooks count too: much of the time goes into the instances that suites start and stop. */
  #tellSlowestFiles(runner: Mocha.Runner): void {
    const { EVENT_SUITE_BEGIN, EVENT_SUITE_END, EVENT_RUN_END } = Mocha.Runner.constants;
    const spentMs = new Map<string, number>();
    const begunMs = new Map<Mocha.Suite, number>();
    const isOfFile = (suite: Mocha.Suite): boolean => suite.parent?.root === true;
    runner.on(EVENT_SUITE_BEGIN, (suite) => {
      if (isOfFile(suite)) begunMs.set(suite, performance.now());
    });
    runner.on(EVENT_SUITE_END, (suite) => {
      const begun = begunMs.get(suite);
      if (begun === undefined || suite.file === undefined) return;
      const name = relative(process.cwd(), suite.file);
      spentMs.set(name, (spentMs.get(name) ?? 0) + performance.now() - begun);
    });
    runner.once(EVENT_RUN_END, () => {
      const slowest = [...spentMs].sort(([, one], [, other]) => other - one).slice(0, slowestFilesTold);
      const lines = slowest.map(([name, ms]) => `  ${(ms / 1000).toFixed(1).padStart(6)} s  ${name}`);
      console.log(`\n  The slowest files:\n${lines.join('\n')}`);
    });
  }
}
