import assert from 'node:assert/strict';
import { watchClock } from '../../controller/clock-watch.ts';
import { until } from '../until.ts';

describe('watchClock', () => {
  it('tells of a clock that was set, in either direction, once each, and not of time that passes', async () => {
    let monotonic = 0;
    let offset = 1e12;
    let looks = 0;
    const jumps: number[] = [];
    const watch = watchClock({
      now: () => monotonic + offset,
      monotonic: () => {
        looks += 1;
        return monotonic;
      },
      onJump: (byMs) => jumps.push(byMs),
      everyMs: 1,
    });
    /** Whole looks, so that what changed before was seen. */
    const look = async (): Promise<void> => {
      const from = looks;
      await until(() => looks >= from + 2, 'the clock to be looked at');
    };
    try {
      await look();
      monotonic += 86_400_000;
      await look();
      assert.deepEqual(jumps, []);
      offset -= 3_600_000;
      await look();
      offset += 7_200_000;
      await look();
      offset += 100;
      await look();
      assert.deepEqual(jumps, [-3_600_000, 7_200_000]);
    } finally {
      watch.close();
    }
  });
});
