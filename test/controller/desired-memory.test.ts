/** What is remembered of objects that were parsed, and when it counts no more. */
import assert from 'node:assert/strict';
import { createDesiredMemory } from '../../controller/desired-memory.ts';
import { object } from './fixtures.ts';

describe('the memory of parsed objects', () => {
  it('answers with what it parsed for the very same object', () => {
    const parse = createDesiredMemory();
    const web = object();
    assert.equal(parse(web), parse(web));
  });
  it('parses another object of the same key anew', () => {
    const parse = createDesiredMemory();
    assert.equal(parse(object()).image, 'web:1');
    assert.equal(parse(object({ spec: { image: 'web:2' } })).image, 'web:2');
    assert.equal(parse(object({ annotations: { 'holdfast.dev/prepare': 'true' } })).isPrepared, true);
  });
  it('forgets those that it parsed longest ago', () => {
    const parse = createDesiredMemory(2);
    const [first, second, third] = [object({ name: 'a' }), object({ name: 'b' }), object({ name: 'c' })];
    const before = [parse(first), parse(second), parse(third)];
    assert.equal(parse(third), before[2]);
    assert.equal(parse(second), before[1]);
    assert.notEqual(parse(first), before[0]);
  });
});
