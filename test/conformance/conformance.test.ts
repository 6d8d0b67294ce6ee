/**
 * What clients of Kubernetes rely on, asked case by case: of a store of our own, or of the server that the environment
 * names (see target.ts), so that a real kube-apiserver can show that the cases are true.
 */
import assert from 'node:assert/strict';
import type { Case } from './case.ts';
import { Session } from './run.ts';
import { subjects } from './subjects.ts';
import { openTarget } from './target.ts';

describe('conformance', () => {
  let session: Session;
  const leftOut = new Map<string, number>();

  before(async () => {
    session = new Session(await openTarget(process.env));
    await session.open();
  });
  after(async () => {
    await session.close();
    for (const [why, count] of leftOut) console.log(`      ${count} cases were not asked of this server: ${why}`);
  });

  const ask = async (given: Case): Promise<void> => {
    const why = session.reasonToLeaveOut(given);
    if (why === undefined) return session.run(given);
    assert.ok(!session.isOwn, `our own store must be asked everything: ${why}`);
    leftOut.set(why, (leftOut.get(why) ?? 0) + 1);
  };

  for (const [subject, cases] of subjects) {
    describe(subject, () => {
      for (const given of cases) it(given.it, () => ask(given));
    });
  }

  it('has at least 200 cases, each with its own title and a source', () => {
    const all = [...subjects.values()].flat();
    assert.ok(all.length >= 200, `there are only ${all.length} cases`);
    assert.equal(new Set(all.map((given) => given.it)).size, all.length);
    for (const given of all) assert.match(given.source, /^https:\/\//u);
  });
});
