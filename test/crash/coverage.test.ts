/** A line of the runtime that changes the host has had a daemon killed before it, or says why not. Reads sources only. */
import assert from 'node:assert/strict';
import { countCalls, excuseFor, excuses, findSites, observeSites, readList } from './coverage.ts';

describe('the changes that the runtime makes to its host', () => {
  const sites = observeSites();
  it('are found in the text of the code', () => {
    const text =
      "import { rm } from 'x';\n// rm(a)\nasync function rm(a) {\n  await rm(a);\n  this.rm(a); x.mkdir(b);\n  y(() => syscalls.unmount(c));\n";
    assert.deepEqual(
      findSites('a.ts', text).map(({ at, call }) => [at, call]),
      [
        ['a.ts:4', 'rm'],
        ['a.ts:6', 'syscalls.unmount'],
      ],
    );
    assert.ok(sites.length > 200, `${sites.length}`);
  });
  it('are all done by a program of `make crash`, which is killed before each; new ones go to a scenario, and then it writes the list', () => {
    const known = readList();
    const calls = countCalls(sites.filter((site) => excuseFor(site) === undefined));
    const missing = Object.entries(calls).filter(([call, count]) => count > (known[call] ?? 0));
    assert.deepEqual(missing, []);
  });
  for (const excuse of excuses)
    it(`are excused where that is so: ${excuse.because}`, () =>
      assert.ok(sites.some(({ file, text }) => excuse.file.test(file) && excuse.text?.test(text) !== false)));
});
