/** Restarts by the whole controller over the real store, with simulated containers: what the pure tests cannot show. */
import assert from 'node:assert/strict';
import { until } from '../until.ts';
import { useRig } from './rig.ts';

const hourMs = 3_600_000;
const hours = { initial: '1h', max: '2h', jitter: 0 };

/** Numbers from 0 to 1, the same for the same seed. Source: mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

describe('restarts by the whole controller', function () {
  this.timeout(240_000);
  const rig = useRig();
  const end = async (name: string, code: number): Promise<void> => {
    await rig.reach(name, ({ state }) => state === 'Running', 'running');
    rig.runtime.exit(await rig.idOf(name), code);
  };

  it('start what is due when the clock was set forward or the host slept, and wait no longer when it was set back', async () => {
    await rig.create('slept', { backoff: hours });
    await end('slept', 1);
    const { status } = await rig.reach('slept', ({ state }) => state === 'Restarting', 'waiting');
    assert.equal(status?.backoff?.delaySeconds, 3_600);
    rig.clockOffsetMs = -12 * hourMs;
    const dueMs = (at: string | undefined): number => Date.parse(at ?? '') - (Date.now() + rig.clockOffsetMs);
    await rig.reach('slept', ({ backoff }) => dueMs(backoff?.nextRestartAt) <= hourMs, 'waiting an hour at most');
    rig.clockOffsetMs = -10 * hourMs;
    await rig.reach('slept', ({ state, restartCount }) => state === 'Running' && restartCount === 1, 'started again');
  });

  it('follow a changed policy at once, during a wait and after giving up', async () => {
    await Promise.all([
      rig.create('waits', { backoff: hours }),
      rig.create('gave-up', { restart: { maxRetries: 0 } }),
      rig.create('late', { backoff: hours, restart: { maxDuration: '30m' } }),
      rig.create('fatal', { restart: { exitCodes: [{ action: 'Fatal', codes: ['3-5'] }] } }),
      rig.create('done', { restartPolicy: 'OnFailure', restart: { exitCodes: [{ action: 'Success', codes: [3] }] } }),
      rig.create('forbidden', { backoff: hours }),
    ]);
    for (const name of ['waits', 'gave-up', 'late', 'fatal', 'done', 'forbidden']) await end(name, 3);
    const reasons: Record<string, string> = {
      waits: 'CrashLoopBackOff',
      'gave-up': 'BackoffLimitExceeded',
      late: 'DeadlineExceeded',
      fatal: 'FatalExitCode',
      done: 'Completed',
      forbidden: 'CrashLoopBackOff',
    };
    for (const [name, wanted] of Object.entries(reasons)) {
      const { status } = await rig.reach(name, ({ reason }) => reason === wanted, wanted);
      assert.deepEqual([status?.exitCode, status?.restartCount], [3, 0]);
    }
    await rig.patch('waits', { spec: { backoff: { initial: '1ms' } } });
    await rig.patch('gave-up', { spec: { restart: { maxRetries: 1 } } });
    await rig.patch('late', { spec: { restart: { maxDuration: '1h' }, backoff: { initial: '1ms' } } });
    await rig.patch('fatal', { spec: { restart: { exitCodes: null } } });
    await rig.patch('done', { spec: { restartPolicy: 'Always' } });
    await rig.patch('forbidden', { spec: { restartPolicy: 'Never' } });
    for (const name of ['waits', 'gave-up', 'late', 'fatal', 'done'])
      await rig.reach(name, ({ state, restartCount }) => state === 'Running' && restartCount === 1, 'started again');
    await rig.reach('forbidden', ({ state, reason }) => state === 'Exited' && reason === 'Error', 'down for good');
  });

  it('refuse exit codes that cannot be, by the schema or by a condition that names the field', async () => {
    const withCodes = (rule: object): Promise<unknown> => rig.create('x', { restart: { exitCodes: [rule] } });
    await assert.rejects(withCodes({ action: 'Fatal' }), /exitCodes\[0\]/);
    await assert.rejects(withCodes({ action: 'Fatal', codes: [256] }), /exitCodes\[0\]\.codes\[0\]/);
    await assert.rejects(withCodes({ action: 'Fatal', codes: ['a'] }), /exitCodes\[0\]\.codes\[0\]/);
    await assert.rejects(withCodes({ action: 'Maybe', codes: [1] }), /exitCodes\[0\]\.action/);
    await withCodes({ action: 'Fatal', codes: ['9-3'] });
    const { status } = await rig.reach('x', ({ reason }) => reason === 'InvalidSpec', 'refused');
    assert.match(status?.message ?? '', /^spec\.restart\.exitCodes\[0\]\.codes\[0\]: "9-3" is not an exit code/);
  });

  it('are never two at once, whatever comes together, and none comes after a fatal exit', async () => {
    const seed = Date.now() % 1_000_000;
    const random = randomFrom(seed);
    const pick = <T>(first: T, ...others: readonly T[]): T =>
      [first, ...others][Math.floor(random() * (others.length + 1))] ?? first;
    const { containers } = rig.runtime;
    const { start } = containers;
    const starting = new Set<string>();
    const doubled: string[] = [];
    const started = new Map<string, number>();
    Object.assign(containers, {
      start: async (id: string, signal: AbortSignal) => {
        const { state, name = '' } = (await containers.inspect(id)) ?? {};
        if (starting.has(id) || state?.kind === 'running') doubled.push(name);
        starting.add(id);
        started.set(name, (started.get(name) ?? 0) + 1);
        try {
          return await start(id, signal);
        } finally {
          starting.delete(id);
        }
      },
    });
    const names = ['a', 'b', 'c', 'd', 'e', 'f'] as const;
    const restart = { exitCodes: [{ action: 'Fatal', codes: [3] }] };
    await Promise.all([...names, 'fatal'].map((name) => rig.create(name, { restart })));
    await end('fatal', 3);
    await rig.reach('fatal', ({ reason }) => reason === 'FatalExitCode', 'down for good');
    const startsOfFatal = started.get('default/fatal');
    const ids = new Map(await Promise.all(names.map(async (name) => [name, await rig.idOf(name)] as const)));
    for (let count = 0; count < 120; count += 1) {
      const name = pick(...names);
      switch (pick('exit', 'exit', 'exit', 'policy', 'state', 'clock', 'controller', 'wait')) {
        case 'exit':
          rig.runtime.exit(ids.get(name) ?? '', pick(0, 1, 137), { silently: random() < 0.2 });
          break;
        case 'policy':
          await rig.patch(name, { spec: { restartPolicy: pick('Always', 'OnFailure', 'Never', 'UnlessStopped') } });
          break;
        case 'state':
          await rig.patch(name, { spec: { desiredState: pick('Running', 'Running', 'Stopped') } });
          break;
        case 'clock':
          rig.clockOffsetMs += pick(-hourMs, hourMs, 60_000);
          break;
        case 'controller':
          if (random() < 0.3) await rig.restartController();
          break;
        default:
          await rig.get(name);
      }
    }
    for (const name of names)
      await rig.patch(name, {
        spec: { restartPolicy: 'Always', desiredState: 'Running', restart: { exitCodes: null } },
      });
    for (const name of names)
      await rig.reach(name, ({ state }) => state === 'Running', `running in the end (seed ${seed})`);
    assert.deepEqual(doubled, [], `two starts at once (seed ${seed})`);
    assert.equal(started.get('default/fatal'), startsOfFatal, `a start after a fatal exit (seed ${seed})`);
    await until(() => starting.size === 0, 'every start to end');
  });
});
