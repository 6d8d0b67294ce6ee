/** Calls of the runtime that hang: each costs its container and nobody else. */
import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import { guardRuntime, RuntimeCallTimeoutError } from '../../controller/guarded-runtime.ts';
import { createRuntimeCallMetrics } from '../../controller/metrics.ts';
import type { Runtime } from '../../runtime/index.ts';
import { createSimulatedRuntime } from '../../runtime/simulated/index.ts';
import { until } from '../until.ts';

describe('the guarded runtime', () => {
  let stop: AbortController;
  let registry: Registry;
  /** Calls that hang, by container. */
  let hanging: Map<string, PromiseWithResolvers<void>>;
  let begun: string[];
  let settled: string[];
  let guarded: Runtime;
  let inner: ReturnType<typeof createSimulatedRuntime>;

  beforeEach(() => {
    stop = new AbortController();
    registry = new Registry();
    hanging = new Map();
    begun = [];
    settled = [];
    inner = createSimulatedRuntime({
      now: Date.now,
      behaviourOf: () => ({}),
      before: (operation, id) => {
        begun.push(`${operation} ${id}`);
        return operation === 'signal-9' ? undefined : hanging.get(id)?.promise;
      },
    });
    guarded = guardRuntime({
      runtime: inner,
      deadlines: { changeMs: 200, quickMs: 200 },
      metrics: createRuntimeCallMetrics(registry),
      now: Date.now,
      onSettled: (id) => settled.push(id),
      stop: stop.signal,
    });
  });
  afterEach(async () => {
    stop.abort(new Error('the test is over'));
    for (const { resolve } of hanging.values()) resolve();
    await inner.close();
  });
  const value = async (name: string): Promise<number> =>
    ((await registry.getSingleMetric(name)?.get())?.values ?? []).reduce((sum, one) => sum + one.value, 0);
  const isTimeout = (error: unknown): boolean =>
    error instanceof RuntimeCallTimeoutError && /^remove, begun at .* has not ended within 0\.2 s/.test(error.message);

  it('gives up waiting at the deadline, makes no further call for that container, and goes on when the call has ended', async () => {
    const hang = Promise.withResolvers<void>();
    hanging.set('a', hang);
    await assert.rejects(guarded.containers.remove('a'), isTimeout);
    await assert.rejects(guarded.containers.remove('a'), isTimeout, 'the second one is refused');
    await guarded.containers.remove('b');
    assert.equal(await guarded.containers.inspect('a'), undefined, 'it can be looked at');
    await guarded.containers.signal('a', 9);
    assert.deepEqual(begun, ['remove a', 'remove b', 'signal-9 a'], 'one call hangs, no more');
    assert.deepEqual(
      [await value('holdfast_runtime_calls_overdue'), await value('holdfast_runtime_call_timeouts_total')],
      [1, 1],
    );
    hang.resolve();
    hanging.delete('a');
    await until(() => settled.includes('a'), 'the late call to be told of');
    await guarded.containers.remove('a');
    assert.equal(await value('holdfast_runtime_calls_overdue'), 0);
  });
  it('tells a call that can give up to do so', async () => {
    let reason: unknown;
    const runtime = guardRuntime({
      runtime: {
        ...inner,
        containers: {
          ...inner.containers,
          start: (_id, signal) =>
            new Promise((_, reject) => {
              signal.addEventListener('abort', () => {
                reason = signal.reason;
                reject(signal.reason);
              });
            }),
        },
      },
      deadlines: { changeMs: 5, quickMs: 5 },
      metrics: createRuntimeCallMetrics(new Registry()),
      now: Date.now,
      onSettled: (id) => settled.push(id),
      stop: stop.signal,
    });
    await assert.rejects(runtime.containers.start('a', stop.signal), RuntimeCallTimeoutError);
    assert.ok(reason instanceof RuntimeCallTimeoutError);
    await until(() => settled.includes('a'), 'the late call to be told of');
  });
  it('waits for nothing any more when the controller closes', async () => {
    hanging.set('a', Promise.withResolvers<void>());
    const call = guarded.containers.remove('a');
    stop.abort(new Error('closing'));
    await assert.rejects(call, /closing/);
    await assert.rejects(guarded.containers.remove('b'), /closing/);
  });
  it('passes through what fails by itself, and what has deadlines of its own', async () => {
    await assert.rejects(guarded.containers.start('none', stop.signal), /there is no container/);
    assert.equal(guarded.info().name, 'simulated');
    assert.deepEqual(await guarded.images.list(), []);
  });
});
