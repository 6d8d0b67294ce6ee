/** Several values for a key, kept as sets are. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Multimap } from '../../controller/multimap.ts';

describe('Multimap', () => {
  it('holds what a map of sets would hold, whatever is added and deleted', () => {
    const word = fc.constantFrom('a', 'b', 'c', '');
    const step = fc.record({ adds: fc.boolean(), key: word, value: word });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const map = new Multimap();
        const model = new Map<string, Set<string>>();
        for (const { adds, key, value } of steps) {
          const values = model.get(key) ?? new Set();
          model.set(key, values);
          if (adds) {
            map.add(key, value);
            values.add(value);
          } else assert.equal(map.delete(key, value), values.delete(value));
          for (const one of ['a', 'b', 'c', '']) assert.deepEqual(map.of(one), [...(model.get(one) ?? [])]);
        }
      }),
    );
  });
  it('gives values that stay as they are when others come and go', () => {
    const map = new Multimap();
    for (const value of ['x', 'y']) map.add('k', value);
    const before = map.of('k');
    map.delete('k', 'x');
    assert.deepEqual([before, map.of('k')], [['x', 'y'], ['y']]);
  });
});
