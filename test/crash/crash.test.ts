/** `make crash` in short: a few steps by a seed that is always the same unless one is given, and those that once went wrong. */

import assert from 'node:assert/strict';
import { takeSeed } from '../seed.ts';
import { runCrashes } from './run-crashes.ts';

const always = [
  /^start: write RUN\/oci\/ID\/exec\.fifo$/,
  /^start: rename RUN\/volumes\/ID\/memory\/files\/\.\.data_new /,
  /^update: rename DATA\/containers\/ID\/record\.json\.\*\.new /,
];

describe('a daemon that is killed before a step of what it does', function () {
  this.timeout(600_000);
  it('is followed by one that finishes or undoes what it was at', async () => {
    const seed = takeSeed(20_261_124);
    const said: string[] = [];
    const report = await runCrashes({
      scenarios: ['create', 'start', 'update', 'remove'],
      choice: { count: 2, seed, always },
      recoveries: 'left alone',
      say: (line) => said.push(line),
      signal: AbortSignal.timeout(540_000),
    });
    assert.deepEqual(report.problems, [], said.join('\n'));
    for (const form of always)
      assert.ok(
        said.some((line) => form.test(line)),
        `killed at ${form}; ${said.join('\n')}`,
      );
    assert.ok(report.killed > always.length, said.join('\n'));
  });
});
