import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import { type Breaker, BreakerOpenError, createBreaker, createRegistryBreakers } from '../../controller/breakers.ts';
import { createControllerMetrics } from '../../controller/metrics.ts';
import { until } from '../until.ts';

const ill = new Error('the other side is ill');
const wrong = new Error('the request was wrong');
const fails = (error: Error) => (): Promise<never> => Promise.reject(error);
const never = new AbortController().signal;
const resetMs = 100;

describe('createBreaker', () => {
  let states: string[];
  let breaker: Breaker;
  beforeEach(() => {
    states = [];
    breaker = createBreaker({
      name: 'store',
      countsAsFailure: (error) => error !== wrong,
      onState: (_name, state) => states.push(state),
      now: Date.now,
      resetMs,
      volume: 3,
    });
  });
  afterEach(() => breaker.close());

  const open = async (): Promise<void> => {
    for (let count = 0; count < 3; count += 1) await assert.rejects(breaker.run(fails(ill), never), ill);
    assert.equal(breaker.isOpen, true);
  };
  /** A call that ends with its signal, and not before. */
  const aborted = async (): Promise<void> => {
    const stop = new AbortController();
    const call = breaker.run(
      () =>
        new Promise<never>((_resolve, reject) => {
          stop.signal.addEventListener('abort', () => reject(stop.signal.reason));
        }),
      stop.signal,
    );
    stop.abort(new Error('not wanted any more'));
    await assert.rejects(call, /not wanted any more/);
  };

  it('opens after failures in a row, refuses calls without making them, and closes after a probe that succeeds', async () => {
    const beganMs = Date.now();
    await open();
    let calls = 0;
    await assert.rejects(
      breaker.run(async () => (calls += 1), never),
      (error: unknown) => error instanceof BreakerOpenError && error.retryAtMs >= beganMs + resetMs,
    );
    assert.equal(calls, 0);
    await until(() => states.at(-1) === 'half_open', 'the time of the probe');
    assert.equal(await breaker.run(async () => 'well', never), 'well');
    assert.deepEqual(states, ['closed', 'open', 'half_open', 'closed']);
  });
  it('is not opened by wrong requests nor by aborted calls, and gives their errors as they are', async () => {
    for (let count = 0; count < 5; count += 1) {
      await assert.rejects(breaker.run(fails(wrong), never), wrong);
      await aborted();
    }
    assert.deepEqual([states, breaker.isOpen], [['closed'], false]);
  });
  it('makes calls at once when it is told that the other side answers', async () => {
    await open();
    breaker.resume();
    assert.equal(await breaker.run(async () => 'well', never), 'well');
    assert.deepEqual([states, breaker.isOpen], [['closed', 'open', 'closed'], false]);
  });
  it('is open again, not closed, when the probe was aborted', async () => {
    await open();
    await until(() => states.at(-1) === 'half_open', 'the time of the probe');
    await aborted();
    assert.equal(breaker.isOpen, true);
    await until(() => states.length === 5, 'the time of the next probe');
    assert.equal(await breaker.run(async () => 'well', never), 'well');
    assert.deepEqual(states, ['closed', 'open', 'half_open', 'open', 'half_open', 'closed']);
  });
});

describe('createRegistryBreakers', () => {
  it('keeps 64, and of one that goes no series stays', async () => {
    const registry = new Registry();
    const metrics = createControllerMetrics(registry, 1);
    const breakers = createRegistryBreakers({
      countsAsFailure: () => true,
      onState: metrics.breaker,
      now: Date.now,
      resetMs,
      volume: 3,
    });
    for (let count = 0; count < 200; count += 1) breakers.of(`registry-${count}`);
    const series = (await registry.metrics()).match(/^holdfast_circuit_breaker_state\{.*$/gm) ?? [];
    breakers.close();
    assert.equal(series.length, 64 * 3);
    assert.ok(series.some((line) => line.includes('registry:registry-199"')));
  });
});
