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
  it('leaves an entry that is shown in another shape than it is stored in', () => {
    const given = entryOf('a', { stored: objectOf('a') });
    assert.equal(leanEntry(given), given);
  });
});
