/** Entries that let go of their objects: what is read of them later is what was put in. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type Entry, leanEntry, lengthOf, textToSearch, textWithoutOwners } from '../../store/entry-object.ts';
import { without } from '../../store/json.ts';
import { joinText, type LeanText, splitText } from '../../store/lean-text.ts';
import type { KubeObject } from '../../store/resources.ts';
import { collectGarbage } from '../collect-garbage.ts';

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
/** What managedFields holds, long enough to be kept apart. */
const owners = (times: readonly string[]) => [
  ...times.map((time) => ({ manager: 'kubectl', operation: 'Update', time, fieldsV1: { 'f:spec': { '.': {} } } })),
  { manager: 'holdfast', fieldsV1: Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`f:field-${at}`, {}])) },
];
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
    assert.deepEqual([entry.key, entry.revision, entry.json], ['/a', 7, given.json]);
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
  it('tells the same text when it is kept in two parts, and the shorter one without those who own its fields', () => {
    const managedFields = owners(['2026-11-29T15:13:46Z', '2026-11-29T15:13:47Z']);
    const object = { ...objectOf('a'), metadata: { ...objectOf('a').metadata, managedFields } };
    const short = JSON.stringify(objectOf('a'));
    const asked = leanEntry(entryOf('a', { object, json: JSON.stringify(object) }));
    assert.equal(textWithoutOwners(asked), short);
    const old = leanEntry(entryOf('a', { object, json: JSON.stringify(object) }));
    pressOut();
    for (const entry of [asked, old]) {
      assert.equal(entry.json, JSON.stringify(object));
      assert.deepEqual(entry.object, object);
      assert.equal(textWithoutOwners(entry), short);
    }
    // As somebody may have written it to the disk.
    const spaced = leanEntry(entryOf('a', { object, json: `{ ${JSON.stringify(object).slice(1)}` }));
    assert.deepEqual([textWithoutOwners(spaced), spaced.json.startsWith('{ "')], [short, true]);
    const unkept: Entry = entryOf('a', { object, json: JSON.stringify(object), stored: objectOf('a') });
    assert.equal(textWithoutOwners(unkept), short);
    assert.equal(textWithoutOwners(leanEntry(entryOf('b'))), JSON.stringify(objectOf('b')));
    // Short ones are parted only for those who ask for that.
    const few = { ...objectOf('c'), metadata: { ...objectOf('c').metadata, managedFields: [{ manager: 'm' }] } };
    const brief = leanEntry(entryOf('c', { object: few, json: JSON.stringify(few) }));
    assert.equal(textToSearch(brief), JSON.stringify(few));
    assert.equal(textWithoutOwners(brief), JSON.stringify(objectOf('c')));
    assert.equal(textToSearch(brief), JSON.stringify(objectOf('c')));
    assert.deepEqual([brief.json, lengthOf(brief)], [JSON.stringify(few), JSON.stringify(few).length]);
  });
});

describe('splitText', () => {
  const time = fc.oneof(fc.constant('2026-11-29T15:13:46Z'), fc.string(), fc.string({ unit: 'grapheme' }));
  // Names that mean something here, so that members look like others and stand anywhere.
  const name = fc.oneof(fc.constantFrom('metadata', 'managedFields', 'time', '1'), fc.string());
  const members = fc.dictionary(name, fc.jsonValue({ maxDepth: 2 }));

  it('gives two parts that are the whole again, wherever the member stands and whatever looks like it', () => {
    fc.assert(
      fc.property(
        ...([members, members, members, members, fc.array(time, { maxLength: 4 }), fc.boolean()] as const),
        (first, last, ahead, behind, times, isTwice) => {
          const managedFields = owners(times);
          const { managedFields: _behind, ...after } = behind;
          const { metadata: _last, ...end } = last;
          const copy = isTwice ? { copy: { managedFields } } : {};
          const given = { ...first, ...copy, metadata: { ...ahead, managedFields, ...after }, ...end };
          // An object made by JSON.parse, as all that are stored are: no member __proto__ of its own kind.
          const made: KubeObject = JSON.parse(JSON.stringify(given));
          const text = JSON.stringify(made);
          const split = splitText(text, made);
          assert.ok(split !== undefined);
          assert.equal(joinText(split), text);
          assert.equal(split.rest, JSON.stringify({ ...made, metadata: without(made.metadata, 'managedFields') }));
        },
      ),
      { numRuns: 500 },
    );
  });
  it('has those share their owners that have the same ones at other times', () => {
    const splitAt = (when: string): LeanText | undefined => {
      const object = { ...objectOf(when), metadata: { ...objectOf(when).metadata, managedFields: owners([when]) } };
      return splitText(JSON.stringify(object), object);
    };
    const [one, other] = [splitAt('2026-11-29T15:13:46Z'), splitAt('2025-01-01T00:00:00Z')];
    assert.ok(one !== undefined && other !== undefined);
    assert.equal(one.template, other.template);
    assert.ok(one.template.length > 300 && !one.template.includes('2026'));
    assert.deepEqual([one.times, other.times], ['2026-11-29T15:13:46Z\0', '2025-01-01T00:00:00Z\0']);
  });
  it('holds nothing of long ones that no object has any more', () => {
    const held = (): number => {
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    const before = held();
    for (let count = 0; count < 100; count += 1) {
      const keys = Array.from({ length: 10_000 }, (_, at) => [`f:${count}-${at}`, {}]);
      const managedFields = [{ manager: 'm', time: 't', fieldsV1: Object.fromEntries(keys) }];
      const object = { ...objectOf('a'), metadata: { ...objectOf('a').metadata, managedFields } };
      assert.ok(splitText(JSON.stringify(object), object) !== undefined);
    }
    assert.ok(held() - before < 4_000_000, `${held() - before} bytes`);
  });
  it('leaves a short one whole, and one of which the text is not', () => {
    const object = { ...objectOf('a'), metadata: { ...objectOf('a').metadata, managedFields: [{ manager: 'm' }] } };
    assert.equal(splitText(JSON.stringify(object), object), undefined);
    const long = { ...object, metadata: { ...object.metadata, managedFields: owners([]) } };
    assert.equal(splitText(JSON.stringify(objectOf('a')), long), undefined);
    assert.equal(splitText(JSON.stringify(objectOf('a')), objectOf('a')), undefined);
  });
});
