import assert from 'node:assert/strict';
import fc from 'fast-check';
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
  it('hands out each lane in the order of its adds, whatever is added, moved to the front and done in between', async () => {
    const key = fc
      .integer({ min: 0, max: 40 })
      .map((number) => (number % 3 === 0 ? `sick-${number}` : `new-${number}`));
    const operation = fc.oneof(
      fc.record({ add: key, turn: fc.constantFrom('its own' as const, 'first' as const) }),
      fc.constant('take' as const),
      fc.constant('done' as const),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 300 }), async (operations) => {
        const tried = new WorkQueue({
          now: Date.now,
          metrics: createQueueMetrics(new Registry(), 'test'),
          standingOf: (one) => (one.startsWith('sick') ? 'sick' : 'unproven'),
        });
        const lanes = { unproven: [] as string[], sick: [] as string[] };
        const working = new Map<string, 'its own' | 'first' | undefined>();
        const add = (one: string, turn: 'its own' | 'first'): void => {
          const lane = one.startsWith('sick') && turn === 'its own' ? 'sick' : 'unproven';
          if (lanes.unproven.includes(one) || lanes[lane].includes(one)) return;
          lanes.sick = lanes.sick.filter((other) => other !== one || lane === 'sick');
          if (!lanes.sick.includes(one)) lanes[lane].push(one);
        };
        const take = async (): Promise<void> => {
          const taken = (await tried.take()) ?? 'nothing';
          const lane = lanes.unproven.includes(taken) ? lanes.unproven : lanes.sick;
          assert.equal(taken, lane.shift());
          working.set(taken, undefined);
        };
        for (const one of operations) {
          const isWaiting = lanes.unproven.length + lanes.sick.length > 0;
          if (one === 'take') {
            if (isWaiting) await take();
          } else if (one === 'done') {
            const [ended, again] = [...working][0] ?? [];
            if (ended === undefined) continue;
            working.delete(ended);
            tried.done(ended);
            if (again !== undefined) add(ended, again);
          } else {
            tried.add(one.add, one.turn);
            if (!working.has(one.add)) add(one.add, one.turn);
            else if (one.turn === 'first' || working.get(one.add) === undefined) working.set(one.add, one.turn);
          }
        }
        while (lanes.unproven.length + lanes.sick.length > 0) await take();
        tried.close();
      }),
    );
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
  it('hands out keys by their standing, but for one in four, and a sick one with a new spec as a new one', async () => {
    const lanes = new WorkQueue({
      now: Date.now,
      metrics: createQueueMetrics(new Registry(), 'lanes'),
      standingOf: (key) => (key.startsWith('sick') ? 'sick' : key.startsWith('old') ? 'proven' : 'unproven'),
    });
    for (let index = 0; index < 4; index += 1) lanes.add(`sick-${index}`);
    for (let index = 0; index < 6; index += 1) lanes.add(`new-${index}`);
    lanes.add('sick-3', 'first');
    lanes.add('sick-0');
    const take = async (count: number): Promise<(string | undefined)[]> => {
      const order: (string | undefined)[] = [];
      for (let index = 0; index < count; index += 1) order.push(await lanes.take());
      return order;
    };
    assert.deepEqual(await take(5), ['new-0', 'new-1', 'new-2', 'sick-0', 'new-3']);
    for (let index = 0; index < 5; index += 1) lanes.add(`old-${index}`);
    assert.deepEqual(await take(6), ['old-0', 'old-1', 'old-2', 'new-4', 'old-3', 'old-4']);
    assert.deepEqual(await take(4), ['new-5', 'sick-1', 'sick-3', 'sick-2']);
    lanes.close();
  });
  it('takes the time that a key has waited for no proof: it stays behind those that had done their work before', async () => {
    let isLongAgo = false;
    const lanes = new WorkQueue({
      now: Date.now,
      metrics: createQueueMetrics(new Registry(), 'proof'),
      standingOf: (key) => (key === 'well' || isLongAgo ? 'proven' : 'unproven'),
    });
    lanes.add('doubtful-0');
    lanes.add('doubtful-1');
    isLongAgo = true;
    lanes.add('doubtful-0');
    lanes.add('doubtful-1');
    lanes.add('well');
    assert.equal(await lanes.take(), 'well');
    assert.equal(await lanes.take(), 'doubtful-0');
    lanes.close();
  });
});
