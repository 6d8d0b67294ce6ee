import assert from 'node:assert/strict';
import { Registry } from 'prom-client';
import { createQueueMetrics } from '../../controller/metrics.ts';
import { WorkQueue } from '../../controller/queue.ts';
import { createStatusPace, maxTurnMs } from '../../controller/status-pace.ts';
import { runWorkers } from '../../controller/workers.ts';
import { until } from '../until.ts';

describe('the workers', () => {
  it('leave what hangs to itself, never work on a key twice at once, and wait for all at the end', async () => {
    const queue = new WorkQueue({ now: Date.now, metrics: createQueueMetrics(new Registry(), 'test') });
    const hang = Promise.withResolvers<void>();
    const done: string[] = [];
    const begun: string[] = [];
    const work = async (key: string): Promise<void> => {
      begun.push(key);
      if (key.startsWith('hangs')) await hang.promise;
      done.push(key);
    };
    const running = runWorkers({ queue, count: 2, work, slowMs: 5, maxSlow: 10 });
    const hanging = ['hangs-1', 'hangs-2', 'hangs-3', 'hangs-4'];
    for (const key of [...hanging, 'well']) queue.add(key);
    await until(() => done.includes('well'), 'the key behind more hanging ones than there are workers');
    for (const key of hanging) queue.add(key);
    queue.add('well-2');
    await until(() => done.includes('well-2'), 'the next key');
    assert.equal(begun.filter((key) => key === 'hangs-1').length, 1);
    hang.resolve();
    await until(() => begun.filter((key) => key === 'hangs-1').length === 2, 'the add that came meanwhile');
    queue.close();
    await running;
    assert.equal(done.length, begun.length);
  });
  it('leave no more to themselves than they may', async () => {
    const queue = new WorkQueue({ now: Date.now, metrics: createQueueMetrics(new Registry(), 'test') });
    const hang = Promise.withResolvers<void>();
    const begun: string[] = [];
    const work = async (key: string): Promise<void> => {
      begun.push(key);
      await hang.promise;
    };
    const running = runWorkers({ queue, count: 1, work, slowMs: 1, maxSlow: 2 });
    for (const key of ['a', 'b', 'c', 'd']) queue.add(key);
    await until(() => begun.length === 3, 'one worker and two that were left to themselves');
    hang.resolve();
    await until(() => begun.length === 4, 'the last');
    queue.close();
    await running;
  });
});

describe('createStatusPace', () => {
  const everyTurn = (pace: ReturnType<typeof createStatusPace>, count: number, nowMs: number): number[] =>
    Array.from({ length: count }, () => pace.takeTurn(nowMs) - nowMs);

  it('lets a burst through at once, and then so many a second', () => {
    const pace = createStatusPace({ perSecond: 10, burst: 3 });
    assert.deepEqual(everyTurn(pace, 6, 50_000), [-300, -200, -100, 0, 100, 200]);
    assert.deepEqual(everyTurn(pace, 1, 50_100), [200]);
    assert.deepEqual(everyTurn(pace, 2, 90_000), [-300, -200], 'a quiet time earns a burst and no more');
  });
  it('puts no turn further off than the longest wait, also when the clock is set back', () => {
    const pace = createStatusPace({ perSecond: 1, burst: 1 });
    assert.equal(Math.max(...everyTurn(pace, 1_000, 500_000)), maxTurnMs);
    assert.deepEqual(everyTurn(pace, 1, 0), [maxTurnMs]);
  });
});
