/** Sets of fields and what is made of them: fieldsV1, union and difference, comparing, merging and pruning. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Json, JsonObject } from '../../store/json.ts';
import { checkApplied } from '../../store/managed-fields/check-applied.ts';
import { compare } from '../../store/managed-fields/compare.ts';
import { compileFieldSchema } from '../../store/managed-fields/field-schema.ts';
import {
  asMember,
  below,
  difference,
  equals,
  type FieldSet,
  formatPaths,
  intersection,
  isEmpty,
  nothing,
  parseFieldSet,
  recursiveDifference,
  sortSet,
  union,
  unionAll,
} from '../../store/managed-fields/field-set.ts';
import { fieldsOf } from '../../store/managed-fields/fields-of.ts';
import { mergeApplied } from '../../store/managed-fields/merge.ts';
import { prune } from '../../store/managed-fields/prune.ts';

const text = { type: 'string' } as const;
const schema = compileFieldSchema({
  type: 'object',
  properties: {
    name: text,
    count: { type: 'integer' },
    labels: { type: 'object', additionalProperties: text },
    whole: { type: 'object', 'x-kubernetes-map-type': 'atomic', properties: { a: text, b: text } },
    struct: { type: 'object', properties: { a: text, b: text } },
    tags: { type: 'array', items: text, 'x-kubernetes-list-type': 'set' },
    words: { type: 'array', items: text },
    any: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    either: { 'x-kubernetes-int-or-string': true },
    ports: {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['port', 'protocol'],
      items: {
        type: 'object',
        required: ['port'],
        properties: { port: { type: 'integer' }, protocol: { ...text, default: 'TCP' }, host: text },
      },
    },
  },
});

const field = fc.constantFrom('f:a', 'f:b', 'f:__proto__', 'f:constructor', 'k:{"name":"x"}', 'v:1', 'v:"t"', 'i:0');
const path = fc.array(field, { minLength: 1, maxLength: 4 });
const setOf = (paths: readonly (readonly string[])[]): FieldSet =>
  paths.reduce<FieldSet>(
    (set, elements) =>
      union(
        set,
        elements.reduceRight<FieldSet>((below, element) => ({ [element]: below }), nothing),
      ),
    nothing,
  );
const sets = fc.array(path, { maxLength: 12 }).map(setOf);

/** All members, as text. */
const membersOf = (set: FieldSet): ReadonlySet<string> => new Set(formatPaths(set));

describe('FieldSet', () => {
  it('is the union, intersection and difference of its members', () => {
    fc.assert(
      fc.property(sets, sets, (a, b) => {
        const [inA, inB] = [membersOf(a), membersOf(b)];
        assert.deepEqual(membersOf(union(a, b)), inA.union(inB));
        assert.deepEqual(membersOf(intersection(a, b)), inA.intersection(inB));
        assert.deepEqual(membersOf(difference(a, b)), inA.difference(inB));
        assert.ok(equals(union(a, b), union(b, a)));
        assert.ok(equals(unionAll([a, b, nothing, a]), union(a, b)));
        assert.ok(equals(union(difference(a, b), intersection(a, b)), a));
      }),
    );
  });

  it('takes what is below a member along, where trees are taken', () => {
    fc.assert(
      fc.property(sets, sets, (a, b) => {
        const taken = [...membersOf(b)];
        const left = [...membersOf(a)].filter((member) => !taken.some((top) => isAtOrBelow(member, top)));
        assert.deepEqual(membersOf(recursiveDifference(a, b)), new Set(left));
      }),
    );
  });

  it('comes back from fieldsV1 as it was', () => {
    fc.assert(
      fc.property(sets, (set) => {
        const written: Json = JSON.parse(JSON.stringify(sortSet(set)));
        assert.ok(equals(parseFieldSet(written), set));
        assert.equal(JSON.stringify(sortSet(parseFieldSet(written))), JSON.stringify(written));
      }),
    );
  });

  it('gives back the set itself where nothing changes', () => {
    fc.assert(
      fc.property(sets, sets, (a, b) => {
        assert.equal(union(a, intersection(a, b)), a);
        assert.equal(difference(a, difference(b, a)), a);
      }),
    );
  });

  it('reads any JSON, or says that it cannot', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        try {
          parseFieldSet(JSON.parse(JSON.stringify(value)));
        } catch (error) {
          assert.ok(error instanceof SyntaxError);
        }
      }),
    );
  });

  it('spells elements in one way, sorts them, and leaves out those it does not know', () => {
    const read = parseFieldSet({
      'v:2': {},
      'k:{"b":1,"a":"<"}': {},
      'k:{"port":443}': {},
      'k:{"port":80}': { '.': {} },
      'f:b': {},
      'f:a': { '.': {}, 'x:y': {} },
      'k:{"a":"\\u003c","b":1}': { 'f:c': {} },
    });
    assert.equal(
      JSON.stringify(sortSet(read)),
      '{"f:a":{},"f:b":{},"k:{\\"a\\":\\"<\\",\\"b\\":1}":{".":{},"f:c":{}},"k:{\\"port\\":80}":{},"k:{\\"port\\":443}":{},"v:2":{}}',
    );
    assert.deepEqual([...formatPaths(read)].slice(2, 4), ['[a="<",b=1]', '[a="<",b=1].c']);
  });

  it('tells members from what is below them', () => {
    assert.deepEqual(asMember({ 'f:a': nothing }), { '.': {}, 'f:a': {} });
    assert.deepEqual(below({ '.': nothing, 'f:a': nothing }), { 'f:a': {} });
    assert.ok(isEmpty(below({ '.': nothing })));
  });
});

function isAtOrBelow(member: string, top: string): boolean {
  return member === top || (member.startsWith(top) && /^[.[]/.test(member.slice(top.length)));
}

describe('fieldsOf', () => {
  const cases: { it: string; given: JsonObject; want: JsonObject }[] = [
    {
      it: 'owns scalars, nulls and empty maps',
      given: { name: 'a', labels: {} },
      want: { 'f:name': {}, 'f:labels': {} },
    },
    { it: 'owns the keys of a map, not the map', given: { labels: { a: 'b' } }, want: { 'f:labels': { 'f:a': {} } } },
    { it: 'owns an atomic map as a whole', given: { whole: { a: 'b' } }, want: { 'f:whole': {} } },
    { it: 'owns an atomic list as a whole', given: { words: ['a'] }, want: { 'f:words': {} } },
    { it: 'does not own an empty set', given: { tags: [] }, want: {} },
    { it: 'owns the items of a set', given: { tags: ['a', 'b'] }, want: { 'f:tags': { 'v:"a"': {}, 'v:"b"': {} } } },
    {
      it: 'owns items by their keys, with defaults',
      given: { ports: [{ port: 80 }] },
      want: { 'f:ports': { 'k:{"port":80,"protocol":"TCP"}': { '.': {}, 'f:port': {} } } },
    },
    {
      it: 'owns what no schema names, with the maps it is in',
      given: { any: { a: { b: 1 }, c: [1] } },
      want: { 'f:any': { 'f:a': { '.': {}, 'f:b': {} }, 'f:c': {} } },
    },
  ];
  for (const { it: title, given, want } of cases) {
    it(title, () => assert.deepEqual(fieldsOf(schema, given), want));
  }
});

const words = fc.constantFrom('a', 'b', 'c');
const ports = fc.uniqueArray(
  fc.record(
    { port: fc.integer({ min: 1, max: 3 }), protocol: fc.constantFrom('TCP', 'UDP'), host: words },
    { requiredKeys: ['port'] },
  ),
  { selector: ({ port, protocol = 'TCP' }) => `${port}/${protocol}`, maxLength: 4 },
);
const values = fc
  .record(
    {
      name: words,
      count: fc.nat(3),
      labels: fc.dictionary(words, words),
      whole: fc.dictionary(fc.constantFrom('a', 'b'), words),
      struct: fc.record({ a: words, b: words }, { requiredKeys: [] }),
      tags: fc.uniqueArray(words),
      words: fc.array(words, { maxLength: 3 }),
      any: fc.dictionary(words, fc.oneof(words, fc.dictionary(words, words), fc.array(words, { maxLength: 2 }))),
      either: fc.oneof(fc.nat(3), words),
      ports,
    },
    { requiredKeys: [], noNullPrototype: true },
  )
  .map((value): JsonObject => JSON.parse(JSON.stringify(value)));

describe('compare', () => {
  it('finds nothing between equals, and the same changes in both directions', () => {
    fc.assert(
      fc.property(values, values, (a, b) => {
        const none = compare(schema, a, structuredClone(a));
        assert.ok(isEmpty(none.added) && isEmpty(none.modified) && isEmpty(none.removed));
        const [there, back] = [compare(schema, a, b), compare(schema, b, a)];
        assert.ok(equals(there.added, back.removed));
        assert.ok(equals(there.modified, back.modified));
      }),
    );
  });

  const cases: { it: string; before: JsonObject; after: JsonObject; want: readonly [Json, Json, Json] }[] = [
    {
      it: 'counts what comes as a whole beside what is in it',
      before: {},
      after: { labels: { a: 'b' }, ports: [{ port: 80 }] },
      want: [
        {
          'f:labels': { '.': {}, 'f:a': {} },
          'f:ports': { '.': {}, 'k:{"port":80,"protocol":"TCP"}': { '.': {}, 'f:port': {} } },
        },
        {},
        {},
      ],
    },
    {
      it: 'sees keys of maps apart',
      before: { labels: { a: '1', b: '1', c: '1' } },
      after: { labels: { a: '1', b: '2', d: '1' } },
      want: [{ 'f:labels': { 'f:d': {} } }, { 'f:labels': { 'f:b': {} } }, { 'f:labels': { 'f:c': {} } }],
    },
    {
      it: 'does not look into what is atomic',
      before: { whole: { a: '1' }, words: ['a'] },
      after: { whole: { a: '2' }, words: ['a', 'b'] },
      want: [{}, { 'f:whole': {}, 'f:words': {} }, {}],
    },
    {
      it: 'knows items by their keys, wherever they stand',
      before: { ports: [{ port: 1, host: 'a' }, { port: 2 }] },
      after: { ports: [{ port: 2 }, { port: 1, protocol: 'TCP', host: 'b' }] },
      want: [
        { 'f:ports': { 'k:{"port":1,"protocol":"TCP"}': { 'f:protocol': {} } } },
        { 'f:ports': { 'k:{"port":1,"protocol":"TCP"}': { 'f:host': {} } } },
        {},
      ],
    },
    {
      it: 'takes items that stand twice all together',
      before: { tags: ['a', 'a'] },
      after: { tags: ['a', 'b', 'b'] },
      want: [{ 'f:tags': { 'v:"a"': {}, 'v:"b"': {} } }, {}, { 'f:tags': { 'v:"a"': {} } }],
    },
    {
      it: 'sees a map become text',
      before: { any: { x: { y: 1 } } },
      after: { any: { x: 'z' } },
      want: [{}, { 'f:any': { 'f:x': {} } }, { 'f:any': { 'f:x': { 'f:y': {} } } }],
    },
  ];
  for (const { it: title, before, after, want } of cases) {
    it(title, () => {
      const { added, modified, removed } = compare(schema, before, after);
      assert.deepEqual([added, modified, removed], want);
    });
  }
});

describe('mergeApplied and prune', () => {
  it('leaves nothing of the configuration out, and comes to rest', () => {
    fc.assert(
      fc.property(values, values, (live, config) => {
        const merged = mergeApplied(schema, live, config) ?? null;
        assert.deepEqual(mergeApplied(schema, merged, config), merged);
        const { modified, removed } = compare(schema, config, merged);
        const lost = union(difference(modified, fieldsOf(schema, {})), removed);
        // An empty map or list does not empty what is there.
        const kept = [...formatPaths(lost)].filter((lostPath) => !isEmptied(config, lostPath));
        assert.deepEqual(kept, []);
      }),
    );
  });

  it('takes out again what it put in, where nobody else owns it', () => {
    // A map or list that others own as an empty one does not outlive what was put into it, as on kube-apiserver; and what
    // became a map by an apply goes with it.
    const isFilled = (item: Json | undefined): boolean =>
      typeof item !== 'object' || Object.keys(item ?? {}).length > 0;
    const filled = values.map(({ any: _any, ...value }): JsonObject => {
      return Object.fromEntries(Object.entries(value).filter(([, item]) => isFilled(item)));
    });
    fc.assert(
      fc.property(filled, filled, (live, config) => {
        const merged = mergeApplied(schema, live, config) ?? {};
        const mine = fieldsOf(schema, config);
        const others = fieldsOf(schema, live);
        const left = prune(schema, merged, mine, others) ?? {};
        const lost = difference(others, fieldsOf(schema, left));
        assert.deepEqual([...formatPaths(lost)], []);
        const remaining = difference(intersection(fieldsOf(schema, left), mine), others);
        assert.deepEqual([...formatPaths(remaining)], []);
      }),
    );
  });

  const orders: { it: string; live: readonly string[]; config: readonly string[]; want: readonly string[] }[] = [
    { it: 'appends what is new', live: ['a', 'b'], config: ['c'], want: ['a', 'b', 'c'] },
    { it: 'takes the order of the configuration', live: ['a', 'b', 'c'], config: ['c', 'a'], want: ['b', 'c', 'a'] },
    {
      it: 'puts what is new where the configuration has it',
      live: ['a', 'b'],
      config: ['x', 'a'],
      want: ['x', 'a', 'b'],
    },
    { it: 'keeps what is not named where it was', live: ['a', 'x', 'b'], config: ['a', 'b'], want: ['a', 'x', 'b'] },
  ];
  for (const { it: title, live, config, want } of orders) {
    it(title, () => assert.deepEqual(mergeApplied(schema, { tags: live }, { tags: config }), { tags: want }));
  }
});

function isEmptied(config: JsonObject, lostPath: string): boolean {
  const steps = lostPath.split('.').filter((step) => step !== '');
  let at: Json | undefined = config;
  for (const step of steps) at = typeof at === 'object' && at !== null ? (at as JsonObject)[step] : undefined;
  return typeof at === 'object' && at !== null && Object.keys(at).length === 0;
}

describe('checkApplied', () => {
  const cases: { it: string; given: Json; want: readonly string[] }[] = [
    { it: 'takes what is of the schema', given: { any: { x: [1] }, either: 1, labels: null }, want: [] },
    { it: 'tells of unknown fields', given: { foo: 1 }, want: ['.foo: field not declared in schema'] },
    { it: 'tells of wrong types', given: { count: 'x' }, want: ['.count: expected numeric (int or float), got "x"'] },
    {
      it: 'tells of items that are the same',
      given: { ports: [{ port: 1 }, { port: 1, protocol: 'TCP' }] },
      want: ['.ports: duplicate entries for key [port=1,protocol="TCP"]'],
    },
    {
      it: 'tells of items that cannot be told apart',
      given: { tags: [{}] },
      want: [".tags: element 0: associative list without keys has an element that's a map type"],
    },
  ];
  for (const { it: title, given, want } of cases) {
    it(title, () => assert.deepEqual(checkApplied(schema, given), want));
  }
});
