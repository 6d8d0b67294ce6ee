import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { load } from 'js-yaml';
import { formatTypes } from '../crds/generate.ts';
import { containerIDOf, crdFiles, formatRenamedFrom, hostnameOf, renamedFromAnnotation } from '../crds/index.ts';

type Schema = {
  type?: string;
  description?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  default?: unknown;
  pattern?: string;
  [key: string]: unknown;
};

interface Crd {
  metadata: { name: string };
  spec: {
    group: string;
    names: { plural: string };
    versions: { additionalPrinterColumns: { name: string; jsonPath: string }[]; schema: { openAPIV3Schema: Schema } }[];
  };
}

const texts = crdFiles.map((file) => readFileSync(file, 'utf8'));
const columns: Readonly<Record<string, readonly string[]>> = {
  'container.yaml': ['STATE', 'REASON', 'RESTARTS', 'EXIT', 'NEXT-RESTART', 'IP', 'NODE', 'IMAGE', 'AGE'],
  'network.yaml': ['INTERNAL', 'AGE'],
};

/** Every schema node with its path; items of lists are [] in it. */
function* walk(schema: Schema, path: string): Generator<[string, Schema]> {
  yield [path, schema];
  for (const [name, property] of Object.entries(schema.properties ?? {})) yield* walk(property, `${path}.${name}`);
  if (schema.items !== undefined) yield* walk(schema.items, `${path}[]`);
}
/** Keywords of apiextensions.k8s.io/v1 JSONSchemaProps that a structural schema may use, as far as we use them. */
const keywords = new Set([
  'type',
  'description',
  'properties',
  'required',
  'items',
  'enum',
  'default',
  'pattern',
  'format',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'maxItems',
  'anyOf',
  'x-kubernetes-int-or-string',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-validations',
]);

for (const [index, text] of texts.entries()) {
  const name = basename(crdFiles[index] ?? '');
  const version = (load(text) as Crd).spec.versions[0];
  const nodes = [...walk(version?.schema.openAPIV3Schema ?? {}, '')];
  describe(`crds/${name}`, () => {
    it('has nodes to look at', () =>
      assert.ok(nodes.length > (name === 'container.yaml' ? 80 : 5), `${nodes.length} nodes`));
    it('describes every field', () => {
      const silent = nodes
        .filter(([path, schema]) => !path.endsWith('[]') && schema.description === undefined)
        .map(([path]) => path);
      assert.deepEqual(silent, []);
    });
    it('is structural: every node has a type or is int-or-string, and no keyword that a real API server would refuse', () => {
      for (const [path, schema] of nodes) {
        assert.ok(schema.type !== undefined || schema['x-kubernetes-int-or-string'] === true, `${path} has no type`);
        assert.deepEqual(
          Object.keys(schema).filter((key) => !keywords.has(key)),
          [],
          path,
        );
      }
    });
    it('has patterns that Go’s RE2 reads as JavaScript does: no look-around, no back references', () => {
      for (const [path, { pattern }] of nodes)
        if (pattern !== undefined) assert.doesNotMatch(pattern, /\(\?[=!<]|\\[1-9]/, path);
    });
    it('prints the columns that people look for, in order', () => {
      assert.deepEqual(
        version?.additionalPrinterColumns.map(({ name }) => name),
        columns[name],
      );
    });
    it('prints only columns that exist in the schema or the metadata', () => {
      const paths = new Set([...nodes.map(([path]) => path), '.metadata.creationTimestamp']);
      for (const { jsonPath } of version?.additionalPrinterColumns ?? []) assert.ok(paths.has(jsonPath), jsonPath);
    });
  });
}

describe('crds/types.ts', () => {
  it('is what the definitions generate', () => {
    assert.equal(
      readFileSync(new URL('../crds/types.ts', import.meta.url), 'utf8'),
      formatTypes(texts),
      'run `make crds`',
    );
  });
});

describe('hostnameOf', () => {
  const annotations = { 'holdfast.dev/hostname': 'container-id' };
  const made = { metadata: { name: 'web', uid: 'a-uid', annotations }, spec: {} };
  const digits = containerIDOf(made).slice(0, 12);
  const heir = {
    name: 'other',
    uid: 'b',
    annotations: { ...annotations, [renamedFromAnnotation]: formatRenamedFrom(made) },
  };
  for (const [title, object, want] of [
    ["is the object's name", { metadata: { name: 'web', uid: 'a-uid' }, spec: {} }, 'web'],
    ['is the beginning of the id where that is asked for', made, digits],
    ['stays the same when another object takes the container over', { metadata: heir, spec: {} }, digits],
    ['is what the spec says', { ...made, spec: { hostname: 'db' } }, 'db'],
    [
      'is the name when the annotation says something else',
      { ...made, metadata: { ...made.metadata, annotations: { 'holdfast.dev/hostname': 'x' } } },
      'web',
    ],
  ] as const)
    it(title, () => assert.equal(hostnameOf(object), want));
});
