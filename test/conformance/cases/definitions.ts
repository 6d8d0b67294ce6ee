/** Definitions of custom resources that are made stricter while there are objects, and rules that cost too much. */
import { type Case, docs, get, patch, post } from '../case.ts';

const page = docs.page('tasks/extend-kubernetes/custom-resources/custom-resource-definitions/');
const ratcheting = `${page}#validation-ratcheting`;
const costs = `${page}#resource-use-by-validation-functions`;
const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const things = '/apis/{group}/v1/namespaces/{ns}/{n}s';
const one = `${things}/{n}`;

type Schema = Parameters<typeof post>[1];

/** A definition whose objects have a spec of these properties. */
const definition = (properties: Schema, rules: Schema = []): Schema => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: '{n}s.{group}' },
  spec: {
    group: '{group}',
    scope: 'Namespaced',
    names: { plural: '{n}s', singular: '{n}', kind: 'Kind{n}', listKind: 'Kind{n}List' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: { spec: { type: 'object', 'x-kubernetes-validations': rules, properties } },
          },
        },
      },
    ],
  },
});
const thing = (name: string, spec: Schema): Schema => ({
  apiVersion: '{group}/v1',
  kind: 'Kind{n}',
  metadata: { name },
  spec,
});
const define = [
  post(
    definitions,
    definition({ a: { type: 'string' }, b: { type: 'integer' }, l: { type: 'array', items: { type: 'string' } } }),
  ),
  get(things, 200, { eventually: true }),
];
const schemaPath = '/spec/versions/0/schema/openAPIV3Schema/properties/spec';
/** Puts something into the schema of the spec, and waits until an object is refused that only it refuses. */
const tighten = (path: string, value: Schema, refused: Schema) => [
  patch('json', `${definitions}/{n}s.{group}`, [{ op: 'add', path: `${schemaPath}${path}`, value }]),
  post(`${things}?dryRun=All`, thing('{n}-new', refused), { code: 422, reason: 'Invalid' }, { eventually: true }),
];
const refuses = (spec: Schema, field: string) =>
  patch('merge', one, { spec }, { code: 422, reason: 'Invalid', causes: [[field, 'FieldValueInvalid']] });

/** A rule that is refused when it is defined. */
const tooDear = (properties: Schema, rule: string) =>
  post(definitions, definition(properties, [{ rule }]), {
    code: 422,
    reason: 'Invalid',
    message:
      /spec\.validation\.openAPIV3Schema\.properties\[spec\]\.x-kubernetes-validations\[0\]\.rule: Forbidden: estimated rule cost exceeds budget by factor of (?:more than 100x|\d+(?:\.\d)?x) \(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared\)/u,
  });
const texts = (more: object = {}, items: object = {}): Schema => ({
  l: { type: 'array', ...more, items: { type: 'string', ...items } },
});

export const definitionCases: readonly Case[] = [
  {
    it: 'what an update leaves as it was may stay, though a stricter schema would refuse it now',
    source: ratcheting,
    since: 30,
    needs: 'widgets',
    steps: [
      ...define,
      post(things, thing('{n}', { a: 'too long', b: 1 })),
      ...tighten('/properties/a/maxLength', 3, { a: 'too long' }),
      patch('merge', one, { spec: { b: 2 } }, { code: 200, body: { spec: { a: 'too long', b: 2 } } }),
      patch('merge', one, { metadata: { labels: { x: 'y' } } }),
      patch('merge', one, { spec: { a: 'also long' } }, { code: 422, reason: 'Invalid' }),
      patch('merge', one, { spec: { a: 'ok' } }),
    ],
  },
  {
    it: 'an object that lacks what is required now may be written again as long as it is not changed beside it',
    source: ratcheting,
    since: 30,
    needs: 'widgets',
    steps: [
      ...define,
      post(things, thing('{n}', { b: 1 })),
      ...tighten('/required', ['a'], { b: 1 }),
      patch('merge', one, { metadata: { labels: { x: 'y' } } }),
      patch(
        'merge',
        one,
        { spec: { b: 2 } },
        { code: 422, reason: 'Invalid', causes: [['spec.a', 'FieldValueRequired']] },
      ),
    ],
  },
  {
    it: 'a rule is not asked about what an update leaves as it was',
    source: ratcheting,
    since: 30,
    needs: 'widgets',
    steps: [
      ...define,
      post(things, thing('{n}', { a: 'x', b: 1 })),
      ...tighten('/properties/a/x-kubernetes-validations', [{ rule: "self.startsWith('y')" }], { a: 'x' }),
      patch('merge', one, { spec: { b: 2 } }),
      refuses({ a: 'z' }, 'spec.a'),
      patch('merge', one, { spec: { a: 'yes' } }),
      refuses({ a: 'x' }, 'spec.a'),
    ],
  },
  {
    it: 'a rule about a whole object is asked when a part of it changes',
    source: ratcheting,
    since: 30,
    needs: 'widgets',
    steps: [
      ...define,
      post(things, thing('{n}', { a: 'x', b: 1 })),
      ...tighten('/x-kubernetes-validations', [{ rule: "self.a == 'y'" }], { a: 'x' }),
      patch('merge', one, { metadata: { labels: { x: 'y' } } }),
      refuses({ b: 2 }, 'spec'),
    ],
  },
  {
    it: 'items of a list without a type are compared by their place',
    source: ratcheting,
    since: 30,
    needs: 'widgets',
    steps: [
      ...define,
      post(things, thing('{n}', { l: ['too long', 'a'] })),
      ...tighten('/properties/l/items/maxLength', 3, { l: ['too long'] }),
      patch('merge', one, { spec: { l: ['too long', 'b'] } }),
      patch('merge', one, { spec: { l: ['b', 'too long'] } }, { code: 422, reason: 'Invalid' }),
    ],
  },
  {
    it: 'refuses a rule that could cost too much for a list without a bound, and says how to mend it',
    source: costs,
    since: 25,
    needs: 'widgets',
    steps: [
      tooDear(texts(), 'self.l.all(a, self.l.all(b, a == b))'),
      tooDear(texts({ maxItems: 1000 }), 'self.l.all(a, self.l.all(b, a.contains(b)))'),
      get(`${definitions}/{n}s.{group}`, 404),
    ],
  },
  {
    it: 'takes the same rule once the schema bounds the list and its texts',
    source: costs,
    since: 25,
    needs: 'widgets',
    steps: [
      post(
        definitions,
        definition(texts({ maxItems: 10 }, { maxLength: 20 }), [{ rule: 'self.l.all(a, self.l.all(b, a == b))' }]),
      ),
    ],
  },
  {
    it: 'counts how often a rule of an item may be asked',
    source: costs,
    since: 25,
    needs: 'widgets',
    steps: [
      post(definitions, definition(texts({}, { 'x-kubernetes-validations': [{ rule: "self.contains('a')" }] })), {
        code: 422,
        reason: 'Invalid',
        message: /items\.x-kubernetes-validations\[0\]\.rule: Forbidden: estimated rule cost exceeds budget/u,
      }),
      post(
        definitions,
        definition(
          texts({ maxItems: 100 }, { maxLength: 100, 'x-kubernetes-validations': [{ rule: "self.contains('a')" }] }),
        ),
      ),
    ],
  },
];
