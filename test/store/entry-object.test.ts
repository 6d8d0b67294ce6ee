/** Entries that let go of their objects: what is read of them later is what was put in. */
import assert from 'node:assert/strict';
import { leanEntry } from '../../store/entry-object.ts';
import type { Entry } from '../../store/memory.ts';
import type { KubeObject } from '../../store/resources.ts';

const objectOf = (name: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Thing',
  metadata: {
    name,
    uid: `uid-${name}`,
    resourceVersion: '7',
    creationTimestamp: 't',
    labels: { ünï: 'cödé "quoted"\n' },
  },
  spec: { list: [1, 2.5, null, true], nested: { empty: {} } },
});
const entryOf = (name: string, more: Partial<Entry> = {}): Entry => {
  const object = objectOf(name);
  return { key: `/${name}`, revision: 7, object, json: JSON.stringify(object), ...more };
};
/** So many that what was made before is not kept any more. */
const pressOut = (): Entry[] => Array.from({ length: 5_000 }, (_, index) => leanEntry(entryOf(`other-${index}`)));

describe('leanEntry', () => {
  it('keeps the object that it was made with for a while', () => {
    const given = entryOf('a');
    assert.equal(leanEntry(given).object, given.object);
  });
  it('lets go of it, and reads it anew when it is asked for, once', () => {
    const given = entryOf('a');
    const entry = leanEntry(given);
    pressOut();
    const read = entry.object;
    assert.notEqual(read, given.object);
    assert.deepEqual(read, given.object);
    assert.equal(entry.object, read);
    assert.deepEqual({ ...entry }, { key: '/a', revision: 7, json: given.json });
  });
  it('lets go of what was read anew as well', () => {
    const entry = leanEntry(entryOf('a'));
    const others = pressOut();
    const read = entry.object;
    for (const other of others) assert.equal(other.object.metadata.name, other.key.slice(1));
    assert.notEqual(entry.object, read);
    assert.deepEqual(entry.object, read);
  });
  it('keeps few of those that are large', () => {
    const large = entryOf('large', { json: JSON.stringify({ ...objectOf('large'), spec: 'x'.repeat(1024 * 1024) }) });
    const entries = Array.from({ length: 40 }, () => leanEntry(large));
    const kept = entries.map((entry) => entry.object === large.object);
    // The first look at one that was let go pushes out another one: only those before it count.
    assert.deepEqual([kept[0], kept.indexOf(true)], [false, -1]);
    const again = Array.from({ length: 40 }, () => leanEntry(large)).reverse();
    const young = again.map((entry) => entry.object === large.object).indexOf(false);
    assert.ok(young >= 10 && young <= 16, `${young} are kept`);
  });
  it('leaves an entry that is shown in another shape than it is stored in', () => {
    const given = entryOf('a', { stored: objectOf('a') });
    assert.equal(leanEntry(given), given);
  });
});
