import assert from 'node:assert/strict';
import { Semaphore } from '../../runtime/keyed-lock.ts';

describe('Semaphore', () => {
  it('lets no more run at once than it has places', async () => {
    const semaphore = new Semaphore(2, { slowMs: 60_000 });
    let running = 0;
    let peak = 0;
    const work = async (): Promise<void> => {
      running += 1;
      peak = Math.max(peak, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
    };
    await Promise.all(Array.from({ length: 10 }, () => semaphore.run(work)));
    assert.equal(peak, 2);
  });
  it('gives the place of what hangs to the next, once, and takes it back when that ends', async () => {
    const semaphore = new Semaphore(1, { slowMs: 5 });
    const hang = Promise.withResolvers<string>();
    const hanging = semaphore.run(() => hang.promise);
    assert.equal(await semaphore.run(async () => 'next'), 'next');
    hang.resolve('at last');
    assert.equal(await hanging, 'at last');
    const order: string[] = [];
    const turn = Promise.withResolvers<void>();
    const one = new Semaphore(1, { slowMs: 60_000 });
    const first = one.run(async () => {
      await turn.promise;
      order.push('first');
    });
    const second = one.run(async () => order.push('second'));
    turn.resolve();
    await Promise.all([first, second]);
    assert.deepEqual(order, ['first', 'second']);
  });
});
