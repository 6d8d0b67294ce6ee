/**
 * Many containers, sick ones and calls that hang: counted, not timed, so that it holds on every machine (the times are in
 * `make bench --figures scale`).
 */
import assert from 'node:assert/strict';
import { containerIDOf } from '../../crds/index.ts';
import { createScaleRig, type ScaleOptions, type ScaleRig } from '../scale-rig.ts';
import { until } from '../until.ts';

const names = (word: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${word}-${index}`);

describe('the controller with many containers', function () {
  this.timeout(240_000);
  let rig: ScaleRig | undefined;
  const open = async (options: ScaleOptions): Promise<ScaleRig> => {
    rig = await createScaleRig(options);
    return rig;
  };
  afterEach(async () => {
    await rig?.close();
    rig = undefined;
  });

  it('leaves a call that hangs to its container: others start, kills go through, and it is told and healed', async () => {
    const hang = Promise.withResolvers<void>();
    let begun = 0;
    const one = await open({
      before: (operation, name) => {
        if (operation !== 'start' || !name.startsWith('stuck')) return undefined;
        begun += 1;
        return hang.promise;
      },
      patience: { deadlineMs: 300, slowMs: 20 },
    });
    // More than there are workers.
    const stuck = names('stuck', 12);
    await one.create(stuck, () => ({ backoff: { initial: '10ms', max: '20ms' } }));
    await until(() => begun === stuck.length, 'all of them to hang');
    await one.create(['well']);
    await until(async () => (await one.get('well')).status?.state === 'Running', 'one behind them to run');
    for (const name of stuck)
      await until(async () => (await one.get(name)).status?.reason === 'RuntimeCallTimeout', `${name} to say so`);
    const { conditions, message } = (await one.get('stuck-3')).status ?? {};
    assert.match(message ?? '', /^start, begun at .* has not ended within 0\.3 s/);
    assert.ok(conditions?.some(({ type, reason }) => type === 'Ready' && reason === 'RuntimeCallTimeout'));
    assert.deepEqual([begun, await one.metric('holdfast_runtime_calls_overdue')], [stuck.length, stuck.length]);
    hang.resolve();
    for (const name of stuck)
      await until(async () => (await one.get(name)).status?.state === 'Running', `${name} to run at last`);
    assert.equal(await one.metric('holdfast_runtime_calls_overdue'), 0);
  });

  it('starts a healthy container before hundreds of sick ones, whose statuses it writes together', async () => {
    let sickStarts = 0;
    const starts = new Map<string, number>();
    const seen = new Map<string, number>();
    const one = await open({
      behaviourOf: (name) => (name.startsWith('sick') ? { exitAfterMs: 1, exitCode: 1 } : {}),
      before: (operation, name) => {
        if (operation !== 'start') return undefined;
        starts.set(name, (starts.get(name) ?? 0) + 1);
        if (name.startsWith('sick')) sickStarts += 1;
        else seen.set(name, sickStarts);
        return undefined;
      },
    });
    const well = names('well', 5);
    // As real work on a container, that on a sick one lets the event loop come round: else a turn of it has room for half of them.
    const { inspect } = one.runtime.containers;
    let wellIDs: ReadonlySet<string> | undefined;
    Object.assign(one.runtime.containers, {
      inspect: async (id: string) => {
        if (wellIDs?.has(id) === false) await new Promise((resolve) => setImmediate(resolve));
        return inspect(id);
      },
    });
    const quick = { initial: '0s', max: '1ms', jitter: 0, resetAfter: '0s' };
    await one.create(well, () => ({ backoff: quick }));
    const sick = names('sick', 200);
    await one.create(sick, () => ({ backoff: { ...quick, resetAfter: '1h' } }));
    await until(() => sick.every((name) => (starts.get(name) ?? 0) > 3), 'a storm');
    const ids = new Map<string, string>();
    for (const name of well) ids.set(name, containerIDOf(await one.get(name)));
    wellIDs = new Set(ids.values());
    const [beganMs, startsBefore, revisionBefore] = [performance.now(), sickStarts, await one.revision()];
    for (const name of well) {
      seen.delete(name);
      const startsThen = sickStarts;
      one.runtime.exit(ids.get(name) ?? '', 1);
      await until(() => seen.has(name), `${name} to start again`);
      // Eight workers have one each, and one in four turns is theirs: 0 to 24. In the order in which they came it is 362.
      const between = (seen.get(name) ?? 0) - startsThen;
      assert.ok(between <= 100, `${between} of 200 sick containers were started before ${name}`);
    }
    await until(() => sickStarts - startsBefore > 2_000, 'two thousand restarts');
    const seconds = (performance.now() - beganMs) / 1_000;
    const written = (await one.revision()) - revisionBefore;
    const allowed = 100 * seconds + 100 + 200;
    assert.ok(written <= allowed, `${written} writes in ${seconds} s for ${sickStarts - startsBefore} restarts`);
  });

  it('does for one change what it does, however many others there are', async () => {
    const updates: string[] = [];
    const one = await open({
      before: (operation, name) => {
        if (operation === 'update') updates.push(name);
        return undefined;
      },
      relistMs: 100,
    });
    const reconciliations = (): Promise<number> => one.metric('controller_runtime_reconcile_total');
    /** A status that is still being written causes one more, so what rests has rested for a second. */
    const rest = async (): Promise<void> => {
      let [last, sinceMs] = [-1, 0];
      await until(
        async () => {
          await one.idle();
          const count = await reconciliations();
          if (count !== last) [last, sinceMs] = [count, performance.now()];
          return performance.now() - sinceMs >= 1_000;
        },
        'a second without work',
        200_000,
      );
    };
    const workFor = async (change: string): Promise<number> => {
      const before = await reconciliations();
      await one.call('PATCH', `/${change}`, { spec: { resources: { limits: { memory: '64Mi' } } } });
      await until(() => updates.includes(change), 'the change to reach the runtime');
      await rest();
      return (await reconciliations()) - before;
    };
    await one.create(names('few', 10));
    await rest();
    const small = await workFor('few-3');
    await one.create(names('many', 240));
    await rest();
    const large = await workFor('many-200');
    assert.ok(small >= 1 && small <= 3, `${small} reconciliations for one change`);
    assert.equal(large, small);
    assert.equal(updates.length, 2);
  });
});
