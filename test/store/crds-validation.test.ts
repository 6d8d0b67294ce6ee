/** What a definition of a resource is refused for: a table, in the words of kube-apiserver. */
import assert from 'node:assert/strict';
import { createCrdKind } from '../../store/crd-kind.ts';
import { formatFieldError } from '../../store/field-errors.ts';
import type { Json, JsonObject } from '../../store/json.ts';
import type { KubeObject } from '../../store/resources.ts';
import { normalize } from '../../store/schema-normalize.ts';

const nothing = new Set<string>();
const kind = createCrdKind({
  taken: () => ({ resources: nothing, kinds: nothing }),
  owned: new Map(),
  checkRules: () => [],
  now: () => 0,
});

const names = { plural: 'foos', kind: 'Foo' };
const object: JsonObject = { type: 'object', properties: { spec: { type: 'object' } } };

function version(extra: JsonObject = {}, schema: JsonObject = object): JsonObject {
  return { name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema }, ...extra };
}

interface Given {
  readonly name?: string;
  readonly spec?: JsonObject;
  readonly annotations?: { readonly [key: string]: string };
}

function make({ name = 'foos.example.com', spec = {}, annotations }: Given, previous?: KubeObject): KubeObject {
  const metadata = {
    name,
    uid: 'u',
    creationTimestamp: '2026-01-01T00:00:00Z',
    ...(annotations === undefined ? {} : { annotations }),
  };
  const whole = { group: 'example.com', scope: 'Namespaced', names, versions: [version()], ...spec };
  const status = previous?.status;
  const head = { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', metadata };
  return kind.prepare({ ...head, spec: whole, ...(status === undefined ? {} : { status }) }, previous);
}

function errorsOf(given: Given, before?: Given): readonly string[] {
  const previous = before === undefined ? undefined : make(before);
  return kind.validate(make(given, previous), previous).map(formatFieldError);
}

/** With one property of the spec of its objects. */
const property = (schema: Json): Given => ({
  spec: {
    versions: [version({}, { type: 'object', properties: { spec: { type: 'object', properties: { a: schema } } } })],
  },
});
const at = 'spec.validation.openAPIV3Schema.properties[spec].properties[a]';

const cases: readonly {
  readonly it: string;
  readonly given: Given;
  readonly before?: Given;
  readonly want: readonly RegExp[];
}[] = [
  { it: 'a plain definition', given: {}, want: [] },
  {
    it: 'a wrong name',
    given: { name: 'bars.example.com' },
    want: [/^metadata.name: Invalid value: "bars.example.com": must be spec.names.plural\+"."\+spec.group$/u],
  },
  {
    it: 'a group without a dot',
    given: { name: 'foos.example', spec: { group: 'example' } },
    want: [/^spec.group: Invalid value: "example": should be a domain with at least one dot$/u],
  },
  {
    it: 'an unknown scope',
    given: { spec: { scope: 'World' } },
    want: [/^spec.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"$/u],
  },
  {
    it: 'names that are no labels',
    given: { spec: { names: { ...names, singular: 'Foo', shortNames: ['a.b'] } } },
    want: [
      /^spec.names.singular: Invalid value: "Foo": a DNS-1035 label/u,
      /^spec.names.shortNames\[0\]: Invalid value: "a.b"/u,
    ],
  },
  {
    it: 'a kind that is its list',
    given: { spec: { names: { ...names, listKind: 'Foo' } } },
    want: [/^spec.names.listKind: Invalid value: "Foo": kind and listKind may not be the same$/u],
  },
  {
    it: 'no storage version',
    given: { spec: { versions: [version({ storage: false })] } },
    want: [/^spec.versions: .*must have exactly one version marked as storage version$/u],
  },
  {
    it: 'one version twice',
    given: { spec: { versions: [version(), version({ storage: false })] } },
    want: [/^spec.versions: .*must contain unique version names$/u],
  },
  {
    it: 'a version without a schema',
    given: { spec: { versions: [{ name: 'v1', served: true, storage: true }] } },
    want: [/^spec.versions\[0\].schema.openAPIV3Schema: Required value: schemas are required$/u],
  },
  {
    it: 'a conversion by webhook',
    given: { spec: { conversion: { strategy: 'Webhook' } } },
    want: [/^spec.conversion.strategy: Invalid value: "Webhook": this server calls no conversion webhooks/u],
  },
  {
    it: 'a protected group',
    given: { name: 'foos.x.k8s.io', spec: { group: 'x.k8s.io' } },
    want: [
      /^metadata.annotations\[api-approved.kubernetes.io\]: Required value: protected groups must have approval annotation/u,
    ],
  },
  {
    it: 'a protected group with approval',
    given: {
      name: 'foos.x.k8s.io',
      spec: { group: 'x.k8s.io' },
      annotations: { 'api-approved.kubernetes.io': 'https://github.com/kubernetes/enhancements/pull/1' },
    },
    want: [],
  },
  {
    it: 'a root that is no object',
    given: { spec: { versions: [version({}, { type: 'string' })] } },
    want: [/^spec.validation.openAPIV3Schema.type: Invalid value: "string": must be object at the root$/u],
  },
  {
    it: 'a property without a type',
    given: property({ description: 'x' }),
    want: [new RegExp(`^${quote(at)}.type: Required value: must not be empty for specified object fields$`, 'u')],
  },
  {
    it: 'an unknown type',
    given: property({ type: 'text' }),
    want: [
      /Unsupported value: "text": supported values: "array", "boolean", "integer", "number", "object", "string"$/u,
    ],
  },
  {
    it: 'a list without items',
    given: property({ type: 'array' }),
    want: [/items: Required value: must be specified$/u],
  },
  {
    it: 'a reference',
    given: property({ type: 'object', $ref: '#/x' }),
    want: [/\$ref: Forbidden: \$ref is not supported$/u],
  },
  {
    it: 'a type within anyOf',
    given: property({ type: 'string', anyOf: [{ type: 'string' }] }),
    want: [/anyOf\[0\].type: Forbidden: must be empty to be structural$/u],
  },
  {
    it: 'int-or-string spelled out',
    given: property({ 'x-kubernetes-int-or-string': true, anyOf: [{ type: 'integer' }, { type: 'string' }] }),
    want: [],
  },
  {
    it: 'a field that only a logical part names',
    given: property({ type: 'object', oneOf: [{ required: ['b'], properties: { b: {} } }] }),
    want: [/properties\[b\]: Required value: because it is defined in .*oneOf\[0\].properties\[b\]$/u],
  },
  {
    it: 'properties and additionalProperties',
    given: property({
      type: 'object',
      properties: { b: { type: 'string' } },
      additionalProperties: { type: 'string' },
    }),
    want: [/additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive$/u],
  },
  {
    it: 'unique items',
    given: property({ type: 'array', items: { type: 'string' }, uniqueItems: true }),
    want: [
      /uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic$/u,
    ],
  },
  {
    it: 'a list map without keys',
    given: property({ type: 'array', 'x-kubernetes-list-type': 'map', items: { type: 'object' } }),
    want: [/x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map$/u],
  },
  {
    it: 'a key that need not be there',
    given: property({
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['k'],
      items: { type: 'object', properties: { k: { type: 'string' } } },
    }),
    want: [
      /properties\[k\].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property$/u,
    ],
  },
  {
    it: 'a set of objects',
    given: property({ type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'object', properties: {} } }),
    want: [
      /items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set$/u,
    ],
  },
  {
    it: 'a default that is not valid',
    given: property({ type: 'integer', minimum: 1, default: 0 }),
    want: [/\.default: Invalid value: 0: .*should be greater than or equal to 1$/u],
  },
  {
    it: 'a default of another type',
    given: property({ type: 'integer', default: 'x' }),
    want: [/\.default: Invalid value: "string": .*must be of type integer: "string"$/u],
  },
  {
    it: 'a pattern that is none',
    given: property({ type: 'string', pattern: '(' }),
    want: [/pattern: Invalid value: "\(": must be a valid regular expression, but isn't/u],
  },
  {
    it: 'a pattern that looks ahead',
    given: property({ type: 'string', pattern: '(?!a)b' }),
    want: [/pattern: Invalid value: .*invalid or unsupported Perl syntax/u],
  },
  {
    it: 'an embedded resource without properties',
    given: property({ type: 'object', 'x-kubernetes-embedded-resource': true }),
    want: [
      /properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields$/u,
    ],
  },
  {
    it: 'metadata that says more than names',
    given: {
      spec: {
        versions: [
          version(
            {},
            {
              type: 'object',
              properties: { metadata: { type: 'object', properties: { labels: { type: 'object' } } } },
            },
          ),
        ],
      },
    },
    want: [
      /properties\[metadata\]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified$/u,
    ],
  },
  {
    it: 'a nullable root',
    given: { spec: { versions: [version({}, { ...object, nullable: true })] } },
    want: [/openAPIV3Schema.nullable: Forbidden: nullable cannot be true at the root$/u],
  },
  {
    it: 'columns of an unknown type at no path',
    given: { spec: { versions: [version({ additionalPrinterColumns: [{ name: 'A', type: 'text', jsonPath: '' }] })] } },
    want: [
      /^spec.additionalPrinterColumns\[0\].type: Invalid value: "text": must be one of boolean,date,integer,number,string$/u,
      /^spec.additionalPrinterColumns\[0\].JSONPath: Required value$/u,
    ],
  },
  {
    it: 'a column with a bad path',
    given: {
      spec: { versions: [version({ additionalPrinterColumns: [{ name: 'A', type: 'string', jsonPath: 'spec.a' }] })] },
    },
    want: [/JSONPath: Invalid value: "spec.a": must be a simple json path starting with \.$/u],
  },
  {
    it: 'a selectable field that is not there',
    given: { spec: { versions: [version({ selectableFields: [{ jsonPath: '.spec.b' }] })] } },
    want: [
      /^spec.selectableFields\[0\].jsonPath: Invalid value: ".spec.b": is an invalid path: does not refer to a valid field$/u,
    ],
  },
  {
    it: 'a scale outside of the spec',
    given: {
      spec: {
        versions: [version({ subresources: { scale: { specReplicasPath: '.a.b', statusReplicasPath: '.status.n' } } })],
      },
    },
    want: [/^spec.subresources.scale.specReplicasPath: Invalid value: ".a.b": should be a json path under .spec$/u],
  },
  {
    it: 'a rule without an expression',
    given: property({ type: 'string', 'x-kubernetes-validations': [{ rule: ' ' }] }),
    want: [/x-kubernetes-validations\[0\].rule: Required value: rule is not specified$/u],
  },
  {
    it: 'a rule with an unknown reason at an unknown field',
    given: property({ type: 'object', 'x-kubernetes-validations': [{ rule: 'true', reason: 'Bad', fieldPath: '.b' }] }),
    want: [/reason: Unsupported value: "Bad"/u, /fieldPath: Invalid value: ".b": fieldPath must be a valid path$/u],
  },
  {
    it: 'a warning for what is not deprecated',
    given: { spec: { versions: [version({ deprecationWarning: 'old' })] } },
    want: [/deprecationWarning: Invalid value: "old": can only be set for deprecated versions$/u],
  },
  {
    it: 'another scope and kind than before',
    given: { spec: { scope: 'Cluster', names: { plural: 'foos', kind: 'Fuu' } } },
    before: {},
    want: [
      /^spec.scope: Invalid value: "Cluster": field is immutable$/u,
      /^spec.names.kind: Invalid value: "Fuu": field is immutable$/u,
    ],
  },
  {
    it: 'a stored version that is gone',
    given: { spec: { versions: [version({ name: 'v2' })] } },
    before: {},
    want: [
      /^status.storedVersions\[0\]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage version/u,
    ],
  },
];

function quote(text: string): string {
  return text.replaceAll(/[.[\]]/gu, '\\$&');
}

describe('validation of definitions of resources', () => {
  for (const { it: title, given, before, want } of cases) {
    it(title, () => {
      const errors = errorsOf(given, before);
      assert.equal(errors.length, want.length, errors.join('\n'));
      for (const [index, pattern] of want.entries()) assert.match(errors[index] ?? '', pattern);
    });
  }

  it('names what a definition has that none has', () => {
    const schema = { type: 'object', properties: { a: { typ: 'string', items: { itmes: {} } } } };
    const spec = { group: 'example.com', names, scope: 'Cluster', versions: [version({ colums: [] }, schema)], x: 1 };
    const { unknownFields } = normalize(kind.schema, { spec });
    const versions = 'spec.versions[0]';
    assert.deepEqual(unknownFields, [
      `${versions}.schema.openAPIV3Schema.properties.a.typ`,
      `${versions}.schema.openAPIV3Schema.properties.a.items.itmes`,
      `${versions}.colums`,
      'spec.x',
    ]);
  });
});
