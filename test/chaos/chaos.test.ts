/** `make chaos` in short: each kind of fault about twice, with a seed that is always the same unless one is given. */

import assert from 'node:assert/strict';
import { takeSeed } from '../seed.ts';
import { faults } from './faults.ts';
import { formatReport, problemsOf } from './report.ts';
import { runChaos } from './run-chaos.ts';

describe('a chaos of faults on thirty containers', function () {
  this.timeout(600_000);
  it('is healed in all its parts, with nothing lost and nothing doubled', async () => {
    const seed = takeSeed(20_261_124);
    const said: string[] = [];
    const report = await runChaos({
      seed,
      forMs: 35_000,
      faults,
      faultPauseMs: [400, 2_000],
      deadlineMs: 120_000,
      say: (line) => said.push(line),
      signal: AbortSignal.timeout(480_000),
    });
    const problems = problemsOf(report);
    // The problems come first: where little of an output is kept, they are what must be seen.
    assert.deepEqual(problems, [], [...problems, ...said, formatReport(report)].join('\n'));
    const kinds = new Set(report.outcomes.map(({ kind }) => kind));
    assert.deepEqual(kinds, new Set(faults.map(({ kind }) => kind)), 'every kind of fault was done');
    assert.ok(report.writes.acknowledged > 10, `${report.writes.acknowledged} writes`);
  });
});
