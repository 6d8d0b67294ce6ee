/** JSON Patch, merge patch and strategic merge patch. Rows marked RFC are the examples of RFC 6902 and RFC 7386. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Json } from '../../store/json.ts';
import { jsonEqual } from '../../store/json.ts';
import { applyJsonPatch, applyMergePatch } from '../../store/json-patch.ts';
import type { OpenApiSchema } from '../../store/schema.ts';
import { StatusError } from '../../store/status-error.ts';
import { applyStrategicPatch } from '../../store/strategic-patch.ts';

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value);
    Object.values(value).forEach(freeze);
  }
  return value;
}

function codeOf(run: () => unknown): number {
  try {
    run();
  } catch (error) {
    if (error instanceof StatusError) return error.code;
    throw error;
  }
  return 200;
}

describe('applyJsonPatch', () => {
  const cases: { it: string; given: Json; patch: Json; want?: Json; code?: number }[] = [
    {
      it: 'RFC A.1 adds a member',
      given: { foo: 'bar' },
      patch: [{ op: 'add', path: '/baz', value: 'qux' }],
      want: { foo: 'bar', baz: 'qux' },
    },
    {
      it: 'RFC A.2 adds an item',
      given: { foo: ['bar', 'baz'] },
      patch: [{ op: 'add', path: '/foo/1', value: 'qux' }],
      want: { foo: ['bar', 'qux', 'baz'] },
    },
    {
      it: 'RFC A.3 removes a member',
      given: { baz: 'qux', foo: 'bar' },
      patch: [{ op: 'remove', path: '/baz' }],
      want: { foo: 'bar' },
    },
    {
      it: 'RFC A.4 removes an item',
      given: { foo: ['bar', 'qux', 'baz'] },
      patch: [{ op: 'remove', path: '/foo/1' }],
      want: { foo: ['bar', 'baz'] },
    },
    {
      it: 'RFC A.5 replaces a value',
      given: { baz: 'qux', foo: 'bar' },
      patch: [{ op: 'replace', path: '/baz', value: 'boo' }],
      want: { baz: 'boo', foo: 'bar' },
    },
    {
      it: 'RFC A.6 moves a value',
      given: { foo: { bar: 'baz', waldo: 'fred' }, qux: { corge: 'grault' } },
      patch: [{ op: 'move', from: '/foo/waldo', path: '/qux/thud' }],
      want: { foo: { bar: 'baz' }, qux: { corge: 'grault', thud: 'fred' } },
    },
    {
      it: 'RFC A.7 moves an item',
      given: { foo: ['all', 'grass', 'cows', 'eat'] },
      patch: [{ op: 'move', from: '/foo/1', path: '/foo/3' }],
      want: { foo: ['all', 'cows', 'eat', 'grass'] },
    },
    {
      it: 'RFC A.8 goes on after a test that holds',
      given: { baz: 'qux', foo: ['a', 2, 'c'] },
      patch: [
        { op: 'test', path: '/baz', value: 'qux' },
        { op: 'test', path: '/foo/1', value: 2 },
      ],
      want: { baz: 'qux', foo: ['a', 2, 'c'] },
    },
    {
      it: 'RFC A.9 fails where a test does not hold',
      given: { baz: 'qux' },
      patch: [{ op: 'test', path: '/baz', value: 'bar' }],
      code: 422,
    },
    {
      it: 'RFC A.10 adds a nested object',
      given: { foo: 'bar' },
      patch: [{ op: 'add', path: '/child', value: { grandchild: {} } }],
      want: { foo: 'bar', child: { grandchild: {} } },
    },
    {
      it: 'RFC A.11 ignores members it does not know',
      given: { foo: 'bar' },
      patch: [{ op: 'add', path: '/baz', value: 'qux', xyz: 123 }],
      want: { foo: 'bar', baz: 'qux' },
    },
    {
      it: 'RFC A.12 does not add below what is not there',
      given: { foo: 'bar' },
      patch: [{ op: 'add', path: '/baz/bat', value: 'qux' }],
      code: 422,
    },
    {
      it: 'RFC A.14 unescapes ~0 and ~1',
      given: { '/': 9, '~1': 10 },
      patch: [{ op: 'test', path: '/~01', value: 10 }],
      want: { '/': 9, '~1': 10 },
    },
    {
      it: 'RFC A.15 does not take a string for a number',
      given: { '~1': 10 },
      patch: [{ op: 'test', path: '/~01', value: '10' }],
      code: 422,
    },
    {
      it: 'RFC A.16 adds at the end of a list',
      given: { foo: ['bar'] },
      patch: [{ op: 'add', path: '/foo/-', value: ['abc'] }],
      want: { foo: ['bar', ['abc']] },
    },
    {
      it: 'replaces the whole document',
      given: { a: 1 },
      patch: [{ op: 'replace', path: '', value: { b: 2 } }],
      want: { b: 2 },
    },
    {
      it: 'copies',
      given: { a: { x: 1 } },
      patch: [{ op: 'copy', from: '/a', path: '/b' }],
      want: { a: { x: 1 }, b: { x: 1 } },
    },
    {
      it: 'does not move a value into itself',
      given: { a: { b: 1 } },
      patch: [{ op: 'move', from: '/a', path: '/a/b' }],
      code: 422,
    },
    { it: 'does not remove what is not there', given: {}, patch: [{ op: 'remove', path: '/a' }], code: 422 },
    {
      it: 'does not take an index beyond the list',
      given: { a: [] },
      patch: [{ op: 'add', path: '/a/1', value: 1 }],
      code: 422,
    },
    { it: 'does not take 01 for an index', given: { a: [1, 2] }, patch: [{ op: 'remove', path: '/a/01' }], code: 422 },
    {
      it: 'does not find what objects inherit',
      given: {},
      patch: [{ op: 'test', path: '/constructor/name', value: 'Object' }],
      code: 422,
    },
    { it: 'does not touch prototypes', given: {}, patch: [{ op: 'add', path: '/__proto__/x', value: 1 }], code: 400 },
    {
      it: 'keeps a copy apart from what it was copied from',
      given: { a: { b: [1] } },
      patch: [
        { op: 'add', path: '/a/b/-', value: 2 },
        { op: 'copy', from: '/a', path: '/c' },
        { op: 'add', path: '/c/b/-', value: 3 },
        { op: 'remove', path: '/a/b/0' },
      ],
      want: { a: { b: [2] }, c: { b: [1, 2, 3] } },
    },
    {
      it: 'changes what it has moved',
      given: { a: { b: [1] } },
      patch: [
        { op: 'replace', path: '/a/b/0', value: 2 },
        { op: 'move', from: '/a', path: '/c' },
        { op: 'add', path: '/c/b/0', value: 1 },
      ],
      want: { c: { b: [1, 2] } },
    },
    { it: 'refuses an operation it does not know', given: {}, patch: [{ op: 'spam', path: '/a' }], code: 422 },
    { it: 'refuses a pointer without its slash', given: {}, patch: [{ op: 'remove', path: 'a' }], code: 400 },
    { it: 'refuses a missing value', given: {}, patch: [{ op: 'add', path: '/a' }], code: 400 },
    { it: 'refuses what is no list', given: {}, patch: { op: 'add' }, code: 400 },
    {
      it: 'bounds the number of operations',
      given: {},
      patch: new Array(10_001).fill({ op: 'test', path: '', value: {} }),
      code: 413,
    },
    {
      it: 'bounds what copies of copies add',
      given: { a: 'x'.repeat(1000) },
      patch: new Array(40).fill(0).flatMap((_, index) => [{ op: 'copy', from: '', path: `/c${index}` }]),
      code: 413,
    },
  ];
  for (const { it: title, given, patch, want, code } of cases) {
    it(title, () => {
      if (code !== undefined)
        assert.equal(
          codeOf(() => applyJsonPatch(freeze(given), patch)),
          code,
        );
      else assert.deepEqual(applyJsonPatch(freeze(given), freeze(patch)), want);
    });
  }
});

describe('applyJsonPatch on a large object', () => {
  it('takes as long for each of many operations as for a few', () => {
    const data = Object.fromEntries(Array.from({ length: 40_000 }, (_, index) => [`k${index}`, '']));
    const patch = Array.from({ length: 10_000 }, (_, index) => ({
      op: 'replace',
      path: `/data/k${index}`,
      value: 'x',
    }));
    const patched = applyJsonPatch(freeze({ data }), patch) as { data: Record<string, string> }; // as given
    assert.deepEqual([patched.data.k9999, patched.data.k10000], ['x', '']);
  });
});

describe('applyMergePatch', () => {
  // RFC 7386, appendix A.
  const cases: { given: Json; patch: Json; want: Json }[] = [
    { given: { a: 'b' }, patch: { a: 'c' }, want: { a: 'c' } },
    { given: { a: 'b' }, patch: { b: 'c' }, want: { a: 'b', b: 'c' } },
    { given: { a: 'b' }, patch: { a: null }, want: {} },
    { given: { a: 'b', b: 'c' }, patch: { a: null }, want: { b: 'c' } },
    { given: { a: ['b'] }, patch: { a: 'c' }, want: { a: 'c' } },
    { given: { a: 'c' }, patch: { a: ['b'] }, want: { a: ['b'] } },
    { given: { a: { b: 'c' } }, patch: { a: { b: 'd', c: null } }, want: { a: { b: 'd' } } },
    { given: { a: [{ b: 'c' }] }, patch: { a: [1] }, want: { a: [1] } },
    { given: ['a', 'b'], patch: ['c', 'd'], want: ['c', 'd'] },
    { given: { a: 'b' }, patch: ['c'], want: ['c'] },
    { given: { a: 'foo' }, patch: null, want: null },
    { given: { a: 'foo' }, patch: 'bar', want: 'bar' },
    { given: { e: null }, patch: { a: 1 }, want: { e: null, a: 1 } },
    { given: [1, 2], patch: { a: 'b', c: null }, want: { a: 'b' } },
    { given: {}, patch: { a: { bb: { ccc: null } } }, want: { a: { bb: {} } } },
  ];
  for (const { given, patch, want } of cases) {
    it(`makes ${JSON.stringify(want)} of ${JSON.stringify(given)} and ${JSON.stringify(patch)}`, () => {
      assert.deepEqual(applyMergePatch(freeze(given), freeze(patch)), want);
    });
  }

  const tree = fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.integer(),
      fc.string(),
      fc.boolean(),
      fc.array(fc.integer(), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), tie('value'), { maxKeys: 4, noNullPrototype: true }),
    ),
  })).value;

  it('brings any value to any other by their difference', () => {
    const isObject = (value: Json): value is Record<string, Json> =>
      typeof value === 'object' && value !== null && !Array.isArray(value);
    const difference = (from: Json, to: Json): Json => {
      if (!isObject(from) || !isObject(to)) return to;
      const gone = Object.keys(from).filter((key) => !(key in to));
      const kept = Object.entries(to).filter(([key, value]) => !(key in from) || !jsonEqual(from[key], value));
      return Object.fromEntries([
        ...gone.map((key) => [key, null] as const),
        ...kept.map(([key, value]) => [key, key in from ? difference(from[key] ?? null, value) : value] as const),
      ]);
    };
    fc.assert(
      fc.property(tree, tree, (from, to) => {
        assert.deepEqual(applyMergePatch(freeze(from), difference(from, to)), to);
      }),
    );
  });

  it('changes nothing when it is applied a second time', () => {
    fc.assert(
      fc.property(tree, tree, (given, patch) => {
        const once = applyMergePatch(given, patch);
        assert.deepEqual(applyMergePatch(once, patch), once);
      }),
    );
  });
});

describe('applyStrategicPatch', () => {
  const items: OpenApiSchema = { type: 'object', properties: { name: { type: 'string' }, value: { type: 'string' } } };
  const schema: OpenApiSchema = {
    properties: {
      env: { type: 'array', items, 'x-kubernetes-patch-strategy': 'merge', 'x-kubernetes-patch-merge-key': 'name' },
      finalizers: { type: 'array', items: { type: 'string' }, 'x-kubernetes-patch-strategy': 'merge' },
      args: { type: 'array', items: { type: 'string' } },
      labels: { type: 'object', additionalProperties: { type: 'string' } },
    },
  };
  const env = [
    { name: 'A', value: '1' },
    { name: 'B', value: '2' },
  ];
  const cases: { it: string; given: Json; patch: Json; want?: Json; code?: number }[] = [
    {
      it: 'merges lists by their key',
      given: { env },
      patch: {
        env: [
          { name: 'B', value: '3' },
          { name: 'C', value: '4' },
        ],
      },
      want: {
        env: [
          { name: 'A', value: '1' },
          { name: 'B', value: '3' },
          { name: 'C', value: '4' },
        ],
      },
    },
    {
      it: 'removes an item by $patch: delete',
      given: { env },
      patch: { env: [{ name: 'A', $patch: 'delete' }] },
      want: { env: [{ name: 'B', value: '2' }] },
    },
    {
      it: 'replaces a list by $patch: replace',
      given: { env },
      patch: { env: [{ $patch: 'replace' }, { name: 'Z' }] },
      want: { env: [{ name: 'Z' }] },
    },
    {
      it: 'orders a list by $setElementOrder',
      given: { env },
      patch: { '$setElementOrder/env': [{ name: 'B' }, { name: 'A' }], env: [] },
      want: { env: [env[1] ?? null, env[0] ?? null] },
    },
    {
      it: 'adds to a set',
      given: { finalizers: ['a'] },
      patch: { finalizers: ['b', 'a'] },
      want: { finalizers: ['b', 'a'] },
    },
    {
      it: 'removes from a set by $deleteFromPrimitiveList',
      given: { finalizers: ['a', 'b'] },
      patch: { '$deleteFromPrimitiveList/finalizers': ['a'] },
      want: { finalizers: ['b'] },
    },
    { it: 'replaces lists that are not merged', given: { args: ['a'] }, patch: { args: ['b'] }, want: { args: ['b'] } },
    {
      it: 'merges maps and removes by null',
      given: { labels: { a: '1', b: '2' } },
      patch: { labels: { a: null, c: '3' } },
      want: { labels: { b: '2', c: '3' } },
    },
    {
      it: 'keeps only the keys that $retainKeys names',
      given: { labels: { a: '1', b: '2' } },
      patch: { labels: { $retainKeys: ['a'], a: '3' } },
      want: { labels: { a: '3' } },
    },
    {
      it: 'replaces a map by $patch: replace',
      given: { labels: { a: '1' } },
      patch: { labels: { $patch: 'replace', b: '2' } },
      want: { labels: { b: '2' } },
    },
    { it: 'refuses an item without its key', given: { env }, patch: { env: [{ value: 'x' }] }, code: 400 },
    { it: 'refuses a directive it does not know', given: {}, patch: { $patch: 'spam' }, code: 400 },
  ];
  for (const { it: title, given, patch, want, code } of cases) {
    it(title, () => {
      if (code !== undefined)
        assert.equal(
          codeOf(() => applyStrategicPatch(freeze(given), patch, schema)),
          code,
        );
      else assert.deepEqual(applyStrategicPatch(freeze(given), freeze(patch), schema), want);
    });
  }
});
