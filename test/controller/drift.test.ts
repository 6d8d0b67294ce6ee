/** How drift is counted and told, and which freezing is drift. */
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { createDriftReporter, noteFreezing } from '../../controller/drift.ts';
import type { EventSubject } from '../../controller/events.ts';
import { until } from '../until.ts';
import { container, exited, paused, running } from './fixtures.ts';
import { useRig } from './rig.ts';

const frozen = container(paused());
const going = container(running());
const later = container(running(5_000));

describe('noteFreezing', () => {
  const steps: { it: string; see: Parameters<typeof noteFreezing>[1][]; want: boolean }[] = [
    {
      it: 'is drift when one that ran as it should is frozen',
      see: [
        { container: going, shouldPause: false },
        { container: frozen, shouldPause: false },
      ],
      want: true,
    },
    {
      it: 'is drift when one that was paused as asked is thawed',
      see: [
        { container: frozen, shouldPause: true },
        { container: going, shouldPause: true },
      ],
      want: true,
    },
    {
      it: 'is none when it was asked to pause',
      see: [
        { container: going, shouldPause: false },
        { container: going, shouldPause: true },
      ],
      want: false,
    },
    {
      it: 'is none when it was asked to go on',
      see: [
        { container: frozen, shouldPause: true },
        { container: frozen, shouldPause: false },
      ],
      want: false,
    },
    {
      it: 'is none in a new run',
      see: [
        { container: frozen, shouldPause: true },
        { container: later, shouldPause: true },
      ],
      want: false,
    },
    { it: 'is none at the first look', see: [{ container: frozen, shouldPause: false }], want: false },
    {
      it: 'is none in what does not run',
      see: [
        { container: going, shouldPause: false },
        { container: container(exited(1)), shouldPause: false },
      ],
      want: false,
    },
    {
      it: 'is told once',
      see: [
        { container: going, shouldPause: false },
        { container: frozen, shouldPause: false },
        { container: frozen, shouldPause: false },
      ],
      want: false,
    },
  ];
  for (const { it: what, see, want } of steps) {
    it(what, () => {
      let last: ReturnType<typeof noteFreezing> = { settled: undefined, isDrift: false };
      for (const seen of see) last = noteFreezing(last.settled, seen);
      assert.equal(last.isDrift, want);
    });
  }
});

describe('the reporter of drift', () => {
  it('counts at once, tells of a container once its object is known, and of the host by the node', () => {
    const told: [EventSubject, ...string[]][] = [];
    const counted: string[] = [];
    const reporter = createDriftReporter({
      events: { record: (...event) => told.push(event) },
      count: (kind) => counted.push(kind),
      objectOf: () => undefined,
      nodeName: 'here',
      log: pino({ level: 'silent' }),
    });
    reporter.report({ kind: 'bridge', detail: 'hf0 was gone' });
    reporter.report({ kind: 'log', containerID: 'a' });
    assert.deepEqual([counted, told], [['bridge', 'log'], []]);
    reporter.begin();
    const [[subject, type, reason, message] = []] = told;
    assert.deepEqual(
      [told.length, subject?.kind, subject?.metadata.name, type, reason],
      [1, 'Node', 'here', 'Warning', 'DriftCorrected'],
    );
    assert.match(message ?? '', /the bridge was removed.*\(hf0 was gone\); Holdfast makes it again/);
  });
});

describe('a damaged container', () => {
  const rig = useRig();
  it('is restarted without a charge to its policy, and an event says why', async () => {
    await rig.create('web', { restart: { maxRetries: 0 } });
    const before = await rig.reach('web', ({ state }) => state === 'Running', 'running');
    rig.runtime.damage(before.status?.containerID ?? '', { kind: 'upper-layer', detail: '/data/upper' });
    const after = await rig.reach(
      'web',
      ({ state, pid }) => state === 'Running' && pid !== before.status?.pid,
      'running again',
    );
    assert.deepEqual([after.status?.reason, after.status?.backoff], [undefined, undefined]);
    await until(
      async () =>
        (await rig.events()).some(
          ({ reason, message }) => reason === 'DriftCorrected' && message.includes('/data/upper'),
        ),
      'the event',
    );
  });
});
