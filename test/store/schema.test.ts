/** Pruning, defaulting and validation by schema, with the wording of kube-apiserver. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { crdFiles } from '../../crds/index.ts';
import { parseCustomResourceDefinition } from '../../store/crd-parse.ts';
import { formatFieldError } from '../../store/field-errors.ts';
import type { Json } from '../../store/json.ts';
import { parseYaml } from '../../store/request-body.ts';
import { parseJsonPath, readJsonPath } from '../../store/resources.ts';
import { compileSchema, type OpenApiSchema, parseOpenApiSchema } from '../../store/schema.ts';
import { normalize } from '../../store/schema-normalize.ts';
import { validateSchema } from '../../store/schema-validate.ts';

const object = (properties: Record<string, OpenApiSchema>, more: OpenApiSchema = {}): OpenApiSchema => ({
  type: 'object',
  properties,
  ...more,
});

describe('normalize', () => {
  const cases: { it: string; schema: OpenApiSchema; given: Json; want: Json; unknown?: string[] }[] = [
    {
      it: 'prunes unknown fields at any depth and names their paths',
      schema: object({ a: object({}), l: { type: 'array', items: object({ x: {} }) } }),
      given: { a: { b: 1 }, l: [{ x: 1 }, { y: 2 }], z: null },
      want: { a: {}, l: [{ x: 1 }, {}] },
      unknown: ['a.b', 'l[1].y', 'z'],
    },
    {
      it: 'keeps unknown fields where the schema says so',
      schema: object({ a: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } }),
      given: { a: { b: { c: 1 } } },
      want: { a: { b: { c: 1 } } },
    },
    {
      it: 'keeps the keys of a map and prunes inside its values',
      schema: { type: 'object', additionalProperties: object({ a: {} }) },
      given: { constructor: { a: 1, b: 2 } },
      want: { constructor: { a: 1 } },
      unknown: ['constructor.b'],
    },
    {
      it: 'does not take what every JavaScript object inherits for a field of the schema',
      schema: object({ a: {} }),
      given: { toString: 1, hasOwnProperty: 2 },
      want: {},
      unknown: ['toString', 'hasOwnProperty'],
    },
    {
      it: 'fills in defaults, and defaults inside of defaults',
      schema: object({ a: object({ b: { default: 1 } }, { default: {} }), c: object({ d: { default: 2 } }) }),
      given: {},
      want: { a: { b: 1 } },
    },
    {
      it: 'takes null for absent, unless null is allowed',
      schema: object({ a: { default: 1 }, b: { default: 1, nullable: true }, c: {} }),
      given: { a: null, b: null, c: null },
      want: { a: 1, b: null },
    },
    {
      it: 'fills in defaults in the items of a list',
      schema: { type: 'array', items: object({ p: { default: 'TCP' } }) },
      given: [{}, { p: 'UDP' }],
      want: [{ p: 'TCP' }, { p: 'UDP' }],
    },
  ];
  for (const { it: title, schema, given, want, unknown = [] } of cases) {
    it(title, () => {
      const result = normalize(compileSchema(schema), given);
      assert.deepEqual(result.value, want);
      assert.deepEqual(result.unknownFields, unknown);
    });
  }

  it('is done after one pass, and gives back what needs no change', async () => {
    const schema = compileSchema(
      object({
        a: object({ b: { default: 1 } }, { default: {} }),
        l: { type: 'array', items: object({ c: { default: 'x' } }) },
      }),
    );
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const once = normalize(schema, value as Json).value; // jsonValue makes nothing but JSON
        const twice = normalize(schema, once);
        assert.equal(twice.value, once);
        assert.deepEqual(twice.unknownFields, []);
      }),
    );
  });
});

describe('validateSchema', () => {
  const f = (schema: OpenApiSchema): OpenApiSchema => object({ f: schema });
  const cases: { schema: OpenApiSchema; given: Json; want: string[] }[] = [
    { schema: f({ type: 'integer' }), given: { f: 1 }, want: [] },
    { schema: f({ type: 'integer' }), given: { f: 1.0 }, want: [] },
    {
      schema: f({ type: 'integer' }),
      given: { f: 'x' },
      want: ['f: Invalid value: "string": f in body must be of type integer: "string"'],
    },
    {
      schema: f({ type: 'string' }),
      given: { f: null },
      want: ['f: Invalid value: "null": f in body must be of type string: "null"'],
    },
    { schema: f({ type: 'string', nullable: true }), given: { f: null }, want: [] },
    {
      schema: f({ type: 'number', minimum: 1 }),
      given: { f: 0.5 },
      want: ['f: Invalid value: 0.5: f in body should be greater than or equal to 1'],
    },
    {
      schema: f({ type: 'number', maximum: 1, exclusiveMaximum: true }),
      given: { f: 1 },
      want: ['f: Invalid value: 1: f in body should be less than 1'],
    },
    {
      schema: f({ type: 'number' }),
      given: { f: Number.POSITIVE_INFINITY },
      want: ['f: Invalid value: null: f in body should be a finite number'],
    },
    {
      schema: f({ type: 'integer', format: 'int32' }),
      given: { f: 2 ** 31 },
      want: ['f: Invalid value: 2147483648: Checked value must be of type integer with format int32 in f'],
    },
    {
      schema: f({ type: 'string', enum: ['A', 'B'] }),
      given: { f: 'C' },
      want: ['f: Unsupported value: "C": supported values: "A", "B"'],
    },
    {
      schema: f({ type: 'string', pattern: '^a+$' }),
      given: { f: 'b' },
      want: [`f: Invalid value: "b": f in body should match '^a+$'`],
    },
    {
      schema: f({ type: 'string', pattern: '^(a+)+$' }),
      given: { f: `${'a'.repeat(5_000)}!` },
      want: ['f: Too long: may not be more than 4096 bytes'],
    },
    {
      schema: f({ type: 'string', maxLength: 2 }),
      given: { f: '😀😀😀' },
      want: ['f: Too long: may not be more than 2 bytes'],
    },
    { schema: f({ type: 'string', maxLength: 2 }), given: { f: '😀😀' }, want: [] },
    {
      schema: f({ type: 'string', minLength: 1 }),
      given: { f: '' },
      want: ['f: Invalid value: "": f in body should be at least 1 chars long'],
    },
    {
      schema: f({ type: 'string', format: 'date-time' }),
      given: { f: 'now' },
      want: ['f: Invalid value: "now": f in body must be of type date-time: "now"'],
    },
    { schema: f({ type: 'string', format: 'date-time' }), given: { f: '2026-01-02T03:04:05.678901Z' }, want: [] },
    { schema: object({}, { required: ['f'] }), given: {}, want: ['f: Required value'] },
    {
      schema: f({ type: 'array', maxItems: 1 }),
      given: { f: [1, 2] },
      want: ['f: Too many: 2: must have at most 1 items'],
    },
    {
      schema: f({ type: 'array', items: object({ p: { type: 'integer' } }) }),
      given: { f: [{ p: 1 }, { p: true }] },
      want: ['f[1].p: Invalid value: "boolean": f[1].p in body must be of type integer: "boolean"'],
    },
    {
      schema: f({ type: 'array', 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['n'] }),
      given: { f: [{ n: 1 }, { n: 2 }, { n: 1, v: 3 }] },
      want: ['f[2]: Duplicate value: {"n":1}'],
    },
    {
      schema: f({ type: 'array', 'x-kubernetes-list-type': 'set' }),
      given: { f: ['a', 'a'] },
      want: ['f[1]: Duplicate value: "a"'],
    },
    { schema: f({ 'x-kubernetes-int-or-string': true }), given: { f: '50%' }, want: [] },
    { schema: f({ 'x-kubernetes-int-or-string': true }), given: { f: 3 }, want: [] },
    {
      schema: f({ 'x-kubernetes-int-or-string': true }),
      given: { f: true },
      want: ['f: Invalid value: "boolean": f in body must be of type integer,string: "boolean"'],
    },
    {
      schema: f({ anyOf: [{ required: ['a'] }, { required: ['b'] }] }),
      given: { f: { c: 1 } },
      want: ['f: Invalid value: {"c":1}: f in body must validate at least one schema (anyOf)'],
    },
    {
      schema: f({ oneOf: [{ required: ['a'] }, { required: ['b'] }] }),
      given: { f: { a: 1, b: 1 } },
      want: ['f: Invalid value: {"a":1,"b":1}: f in body must validate one and only one schema (oneOf)'],
    },
    {
      schema: f({ not: { enum: ['x'] } }),
      given: { f: 'x' },
      want: ['f: Invalid value: "x": f in body must not validate the schema (not)'],
    },
  ];
  for (const { schema, given, want } of cases) {
    it(`answers ${want[0] ?? 'nothing'} to ${JSON.stringify(given).slice(0, 60)}`, () => {
      assert.deepEqual(validateSchema(compileSchema(schema), given).map(formatFieldError), want);
    });
  }

  it('reports a bounded number of errors', () => {
    const schema = compileSchema({ type: 'array', items: { type: 'integer' } });
    assert.equal(validateSchema(schema, new Array(10_000).fill('x')).length, 50);
  });

  it('accepts whatever the Container schema itself has made whole', async () => {
    const [file = ''] = crdFiles;
    const { stored: kind } = parseCustomResourceDefinition(parseYaml(await readFile(file, 'utf8')).value);
    assert.ok(kind !== undefined);
    const { value } = normalize(kind.schema, { spec: { image: 'nginx' } });
    assert.deepEqual(validateSchema(kind.schema, value), []);
  });
});

describe('validateSchema of an update', () => {
  const small: OpenApiSchema = { type: 'integer', maximum: 9 };
  const item = object({ name: { type: 'string' }, size: small });
  const list = (type?: 'map' | 'set' | 'atomic'): OpenApiSchema => ({
    type: 'array',
    maxItems: 2,
    items: type === 'map' ? item : small,
    ...(type === undefined ? {} : { 'x-kubernetes-list-type': type }),
    ...(type === 'map' ? { 'x-kubernetes-list-map-keys': ['name'] } : {}),
  });
  const cases: { it: string; schema: OpenApiSchema; old: Json; given: Json; want: string[] }[] = [
    {
      it: 'lets pass what is as it was',
      schema: object({ a: small, b: small }, { required: ['c'] }),
      old: { a: 10, b: 1 },
      given: { a: 10, b: 1 },
      want: [],
    },
    {
      it: 'lets pass fields as they were beside others that changed',
      schema: object({ a: small, b: small }),
      old: { a: 10, b: 10 },
      given: { a: 10, b: 11 },
      want: ['b'],
    },
    {
      it: 'wants a field that is required, of an object that changed',
      schema: object({ a: small }, { required: ['c'] }),
      old: { a: 1 },
      given: { a: 2 },
      want: ['c'],
    },
    {
      it: 'refuses what was not there before',
      schema: object({ a: small, b: small }),
      old: { a: 10 },
      given: { a: 10, b: 10 },
      want: ['b'],
    },
    {
      it: 'lets pass values of a map as they were',
      schema: { type: 'object', additionalProperties: small },
      old: { a: 10, b: 10 },
      given: { a: 10, b: 12 },
      want: ['b'],
    },
    {
      it: 'finds items of a list that is a map by their keys',
      schema: list('map'),
      old: [{ name: 'a', size: 10 }],
      given: [
        { name: 'b', size: 10 },
        { name: 'a', size: 10 },
      ],
      want: ['[0].size'],
    },
    {
      it: 'finds items of a list without a type by their place',
      schema: list(),
      old: [10, 11],
      given: [10, 12],
      want: ['[1]'],
    },
    { it: 'finds no items of a set', schema: list('set'), old: [10, 11], given: [10, 12], want: ['[0]', '[1]'] },
    { it: 'finds no items of an atomic list', schema: list('atomic'), old: [10, 1], given: [10, 2], want: ['[0]'] },
    {
      it: 'lets pass a list as it was, whatever its type',
      schema: list('atomic'),
      old: [10, 11, 1],
      given: [10, 11, 1],
      want: [],
    },
    {
      it: 'lets pass what is as it was below allOf and anyOf',
      schema: object(
        { a: { type: 'integer' }, b: small },
        { allOf: [object({ a: small })], anyOf: [object({ a: small })] },
      ),
      old: { a: 10, b: 1 },
      given: { a: 10, b: 2 },
      want: [],
    },
    { it: 'refuses a change of the type', schema: small, old: 10, given: '10', want: [''] },
  ];
  for (const { it: title, schema, old, given, want } of cases) {
    it(title, () => {
      const errors = validateSchema(compileSchema(schema), given, '', old);
      assert.deepEqual(
        errors.map(({ field }) => field),
        want,
      );
    });
  }
});

describe('a schema that cannot be served', () => {
  const cases: { given: Json; want: RegExp }[] = [
    { given: 'x', want: /CRD must be an object/ },
    { given: { properties: { a: { minimum: '1' } } }, want: /CRD\.a\.minimum must be a number/ },
    { given: { items: { required: 'a' } }, want: /CRD\[\*\]\.required must be a list/ },
    { given: { properties: { a: { pattern: '(' } } }, want: /CRD\.a\.pattern "\(" is not a regular expression/ },
  ];
  for (const { given, want } of cases) {
    it(`is refused with ${want.source}`, () => {
      assert.throws(() => compileSchema(parseOpenApiSchema(given, 'CRD'), 'CRD'), want);
    });
  }
});

describe('parseJsonPath', () => {
  const value: Json = { a: { b: [{ c: 1 }], 'x.y/z': 2, constructor: 3 } };
  const cases: { path: string; want: Json | undefined }[] = [
    { path: '.a.b[0].c', want: 1 },
    { path: '.a.b[1].c', want: undefined },
    { path: ".a['x.y/z']", want: 2 },
    { path: '.a.x\\.y/z', want: 2 },
    { path: '.a.b.c', want: undefined },
    { path: '.toString', want: undefined },
  ];
  for (const { path, want } of cases) {
    it(`reads ${path}`, () => assert.deepEqual(readJsonPath(value, parseJsonPath(path)), want));
  }
  it('refuses what it cannot read', () => assert.throws(() => parseJsonPath('.a[?(@.b)]'), /cannot read/));
});
