/** What the gateway reads from a status: whether a start came off, and which events there were. */
import assert from 'node:assert/strict';
import { type Container, containerIDOf, formatRenamedFrom, renamedFromAnnotation } from '../../crds/index.ts';
import { eventsOf } from '../../docker/event-rules.ts';
import { judgeStart } from '../../docker/start-verdict.ts';
import { ago, given, nowMs, type Status } from './fixtures.ts';

describe('judgeStart', () => {
  const former = given('web', {
    state: 'Exited',
    lastTermination: { exitCode: 1, finishedAt: ago(60), reason: 'Error' },
    observedGeneration: 1,
  });
  const verdictOn = (status: Partial<Status>): ReturnType<typeof judgeStart> =>
    judgeStart(former, given('web', { observedGeneration: 2, ...status }), 2);
  const last = { exitCode: 127, finishedAt: ago(0), reason: 'StartError', message: 'no such program' };
  it('waits for a status that knows of the wish', () => {
    assert.equal(judgeStart(former, given('web', { state: 'Running', observedGeneration: 1 }), 2), undefined);
    assert.equal(verdictOn({ state: 'Created', reason: 'ContainerCreating' }), undefined);
    assert.equal(verdictOn({ state: 'Exited', lastTermination: former.status?.lastTermination }), undefined);
  });
  it('sees that it runs, that it has run already, and that it is gone already', () => {
    assert.deepEqual(verdictOn({ state: 'Running' }), { kind: 'started' });
    assert.deepEqual(
      verdictOn({ state: 'Exited', lastTermination: { exitCode: 0, finishedAt: ago(0), reason: 'Completed' } }),
      { kind: 'started' },
    );
    const once = { ...former, spec: { ...former.spec, ttlSecondsAfterFinished: 0 } };
    assert.deepEqual(judgeStart(once, undefined, 2), { kind: 'started' });
  });
  it('tells of one that somebody removed, or stopped, before it had started', () => {
    const id = containerIDOf(former);
    assert.deepEqual(judgeStart(former, undefined, 2), {
      kind: 'failed',
      status: 404,
      message: `No such container: ${id}`,
    });
    const stopped = given('web', { observedGeneration: 3, state: 'Created' }, { generation: 3 });
    const halted = { ...stopped, spec: { ...stopped.spec, desiredState: 'Stopped' as const } };
    assert.deepEqual(judgeStart(former, halted, 2), {
      kind: 'failed',
      status: 409,
      message: `container ${id} was stopped before it had started`,
    });
  });
  it('tells of a program that is missing in the words by which docker knows it', () => {
    const verdict = verdictOn({ state: 'Exited', lastTermination: last });
    assert.equal(verdict?.kind, 'failed');
    assert.match(
      verdict?.kind === 'failed' ? verdict.message : '',
      /no such program.*executable file not found in \$PATH: unknown$/,
    );
  });
  it('tells of what stands in the way', () => {
    assert.deepEqual(verdictOn({ state: 'Created', reason: 'HostPortConflict', message: 'port 80 is taken' }), {
      kind: 'failed',
      status: 500,
      message: 'port 80 is taken',
    });
  });
});

describe('eventsOf', () => {
  const actions = (
    before: Container | undefined,
    after: Container | undefined,
    others: readonly Container[] = [],
  ): string[] => eventsOf({ before, after }, { namespace: 'default', others, nowMs }).map(({ Action }) => Action);
  const web = given('web');
  const running = given('web', { state: 'Running', startedAt: ago(9) });
  const ended = given('web', {
    state: 'Exited',
    startedAt: ago(9),
    lastTermination: { exitCode: 0, startedAt: ago(9), finishedAt: ago(1), reason: 'Completed' },
  });
  const stopped: Container = { ...ended, spec: { ...ended.spec, desiredState: 'Stopped' } };
  const heir = given('web2', {}, { annotations: { [renamedFromAnnotation]: formatRenamedFrom(web) } });
  const rows: [string, string[], string[]][] = [
    ['create', actions(undefined, web), ['create']],
    ['start', actions(web, running), ['start']],
    ['an end', actions(running, ended), ['die']],
    ['a stop', actions(running, stopped), ['die', 'stop']],
    ['a run that was over before anybody looked', actions(web, ended), ['start', 'die']],
    [
      'a run that was over, and of which only the end is told',
      actions(
        web,
        given('web', {
          state: 'Exited',
          lastTermination: { exitCode: 0, startedAt: ago(9), finishedAt: ago(1), reason: 'Completed' },
        }),
      ),
      ['start', 'die'],
    ],
    [
      'a run of which first the beginning is told and then the end, and never that it goes on',
      [
        ...actions(web, given('web', { state: 'Created', startedAt: ago(9) })),
        ...actions(given('web', { state: 'Created', startedAt: ago(9) }), ended),
      ],
      ['start', 'die'],
    ],
    ['a removal', actions(ended, undefined), ['destroy']],
    [
      'a rename, of which the former object is no removal',
      [...actions(undefined, heir), ...actions(web, undefined, [heir])],
      ['rename'],
    ],
    [
      'pause and unpause',
      [
        ...actions(running, given('web', { state: 'Paused', startedAt: ago(9) })),
        ...actions(given('web', { state: 'Paused', startedAt: ago(9) }), running),
      ],
      ['pause', 'unpause'],
    ],
    ['nothing that matters', actions(running, running), []],
  ];
  for (const [title, got, wanted] of rows) it(`tells of ${title}`, () => assert.deepEqual(got, wanted));
  it('tells of an end for want of memory and of its exit code', () => {
    const killed = given('web', {
      state: 'Restarting',
      startedAt: ago(9),
      lastTermination: { exitCode: 137, startedAt: ago(9), finishedAt: ago(1), reason: 'OOMKilled' },
    });
    const events = eventsOf({ before: running, after: killed }, { namespace: 'default', others: [], nowMs });
    assert.deepEqual(
      events.map(({ Action }) => Action),
      ['oom', 'die'],
    );
    assert.equal(events[1]?.Actor.Attributes.exitCode, '137');
  });
});
