import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import { createQueueMetrics } from '../../controller/metrics.ts';
import { WorkQueue } from '../../controller/queue.ts';

describe('WorkQueue', () => {
  let queue: WorkQueue;
  let registry: Registry;
  beforeEach(() => {
    registry = new Registry();
    queue = new WorkQueue({
      now: Date.now,
      metrics: createQueueMetrics(registry, 'test'),
      errorBaseMs: 10,
      errorMaxMs: 40,
    });
  });
  afterEach(() => queue.close());

  it('hands keys out in the order of their adds, each once', async () => {
    for (const key of ['a', 'b', 'a']) queue.add(key);
    assert.equal(await queue.take(), 'a');
    assert.equal(await queue.take(), 'b');
    const metrics = await registry.getSingleMetricAsString('workqueue_depth');
    assert.match(metrics, /workqueue_depth\{name="test"\} 0/);
  });
  it('never hands out a key that is being worked on, and remembers adds meanwhile', async () => {
    queue.add('a');
    assert.equal(await queue.take(), 'a');
    queue.add('a');
    queue.add('a');
    queue.add('b');
    assert.equal(await queue.take(), 'b', 'a is busy');
    queue.done('a');
    assert.equal(await queue.take(), 'a');
    queue.done('a');
    queue.add('c');
    assert.equal(await queue.take(), 'c', 'a was remembered once only');
  });
  it('gives a waiting worker the key at once', async () => {
    const taken = queue.take();
    queue.add('a');
    assert.equal(await taken, 'a');
  });
  it('keeps the earliest of several waits', async () => {
    const before = Date.now();
    queue.addAfter('a', 60_000);
    queue.addAfter('a', 20);
    queue.addAfter('a', 30_000);
    assert.equal(await queue.take(), 'a');
    assert.ok(Date.now() - before < 15_000);
  });
  it('waits longer with every failure, up to the maximum, until it is told to forget', () => {
    assert.deepEqual(
      [1, 2, 3, 4].map(() => queue.addRateLimited('a')),
      [10, 20, 40, 40],
    );
    queue.forget('a');
    assert.equal(queue.addRateLimited('a'), 10);
  });
  it('lets its workers go when it closes', async () => {
    const taken = queue.take();
    queue.close();
    assert.equal(await taken, undefined);
    assert.equal(await queue.take(), undefined);
  });
  it('hands out keys that do well before sick ones, but for one in four, and one with a new spec at once', async () => {
    const lanes = new WorkQueue({
      now: Date.now,
      metrics: createQueueMetrics(new Registry(), 'lanes'),
      isSick: (key) => key.startsWith('sick'),
    });
    for (let index = 0; index < 4; index += 1) lanes.add(`sick-${index}`);
    for (let index = 0; index < 6; index += 1) lanes.add(`well-${index}`);
    lanes.add('sick-3', 'first');
    lanes.add('sick-0');
    const order: (string | undefined)[] = [];
    for (let index = 0; index < 10; index += 1) order.push(await lanes.take());
    lanes.close();
    assert.deepEqual(order, [
      ...['well-0', 'well-1', 'well-2', 'sick-0'],
      ...['well-3', 'well-4', 'well-5', 'sick-1', 'sick-3', 'sick-2'],
    ]);
  });
});
