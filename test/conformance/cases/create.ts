/** Creating objects: what the server fills in, and what it refuses. */
import { type Case, configMap, configMaps, docs, get, post, widget, widgets } from '../case.ts';
import { aRevision, aTime } from '../expect.ts';

const names = docs.page('concepts/overview/working-with-objects/names/');
const labels = docs.page('concepts/overview/working-with-objects/labels/#syntax-and-character-set');
const annotations = docs.page('concepts/overview/working-with-objects/annotations/#syntax-and-character-set');
const metadataRules = docs.source('staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go');
const dryRun = docs.concepts('dry-run');
const unknown = docs.concepts('field-validation');
const one = `${configMaps}/{n}`;
const invalid = (field: string, reason = 'FieldValueInvalid') =>
  ({ code: 422, reason: 'Invalid', causes: [[field, reason]] }) as const;

export const createCases: readonly Case[] = [
  {
    it: 'creates with 201 and answers with the object, its uid, time of creation and resourceVersion',
    source: docs.conventions('metadata'),
    steps: [
      post(configMaps, configMap('{n}'), {
        code: 201,
        body: {
          kind: 'ConfigMap',
          apiVersion: 'v1',
          metadata: {
            name: '{n}',
            namespace: '{ns}',
            uid: /^[0-9a-f-]{36}$/u,
            creationTimestamp: aTime,
            resourceVersion: aRevision,
            generation: undefined,
          },
          data: { a: '1' },
        },
      }),
      get(one, { code: 200, body: { metadata: { name: '{n}' }, data: { a: '1' } } }),
    ],
  },
  {
    it: 'makes a name from generateName',
    source: docs.conventions('idempotency'),
    steps: [
      post(
        configMaps,
        { metadata: { generateName: '{n}-' } },
        {
          code: 201,
          body: { metadata: { name: /^c\d+-[bcdfghjklmnpqrstvwxz2456789]{5}$/u, generateName: '{n}-' } },
        },
      ),
    ],
  },
  {
    it: 'takes the name that is given before generateName',
    source: docs.conventions('idempotency'),
    steps: [
      post(
        configMaps,
        { metadata: { name: '{n}', generateName: 'other-' } },
        { code: 201, body: { metadata: { name: '{n}' } } },
      ),
    ],
  },
  {
    it: 'wants a name or generateName',
    source: metadataRules,
    steps: [post(configMaps, { metadata: {} }, invalid('metadata.name', 'FieldValueRequired'))],
  },
  {
    it: 'refuses a name that is taken with 409 AlreadyExists',
    source: docs.conventions('http-status-codes'),
    steps: [
      post(configMaps, configMap('{n}')),
      post(configMaps, configMap('{n}', { a: '2' }), {
        code: 409,
        reason: 'AlreadyExists',
        message: /^configmaps "c\d+" already exists$/u,
        body: { details: { name: '{n}', kind: 'configmaps' } },
      }),
      get(one, { code: 200, body: { data: { a: '1' } } }),
    ],
  },
  {
    it: 'names the group of a custom resource whose name is taken',
    source: docs.conventions('http-status-codes'),
    needs: 'widgets',
    steps: [
      post(widgets, widget('{n}')),
      post(widgets, widget('{n}'), {
        code: 409,
        reason: 'AlreadyExists',
        body: { details: { name: '{n}', group: '{group}', kind: 'widgets' } },
      }),
    ],
  },
  ...['Upper', 'under_score', '-front', 'end-', 'dot..dot', 'a b', 'a/b', `x${'x'.repeat(253)}`, 'ü'].map(
    (name): Case => ({
      it: `refuses the name ${name.length > 20 ? 'of 254 characters' : JSON.stringify(name)} with 422`,
      source: names,
      steps: [
        post(configMaps, configMap(name), { ...invalid('metadata.name'), body: { details: { kind: 'ConfigMap' } } }),
      ],
    }),
  ),
  {
    it: 'takes a name of 253 characters with dots',
    source: names,
    steps: [post(configMaps, configMap(`a.b.${'x'.repeat(249)}`))],
  },
  {
    it: 'refuses a namespace in the body that is not that of the path with 400',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/registry/rest/meta.go'),
    steps: [
      post(configMaps, configMap('{n}', {}, { namespace: 'default' }), {
        code: 400,
        reason: 'BadRequest',
        message: /^the namespace of the provided object does not match the namespace sent on the request$/u,
      }),
    ],
  },
  {
    it: 'refuses to create in a namespace that is not there with 404',
    source: docs.page('reference/access-authn-authz/admission-controllers/#namespacelifecycle'),
    steps: [
      post('/api/v1/namespaces/{n}-absent/configmaps', configMap('{n}'), {
        code: 404,
        reason: 'NotFound',
        message: /^namespaces "c\d+-absent" not found$/u,
        body: { details: { name: '{n}-absent', kind: 'namespaces' } },
      }),
    ],
  },
  {
    it: 'does not create an object that has a resourceVersion',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go'),
    steps: [post(configMaps, configMap('{n}', {}, { resourceVersion: '1' }), { code: [400, 500] }), get(one, 404)],
  },
  {
    it: 'ignores what only the server may set',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/registry/rest/create.go'),
    steps: [
      post(
        configMaps,
        configMap(
          '{n}',
          {},
          {
            uid: 'mine',
            creationTimestamp: '2001-01-01T00:00:00Z',
            deletionTimestamp: '2001-01-01T00:00:00Z',
            deletionGracePeriodSeconds: 7,
          },
        ),
        {
          code: 201,
          body: {
            metadata: {
              uid: /^[0-9a-f-]{36}$/u,
              creationTimestamp: /^20[2-9]/u,
              deletionTimestamp: undefined,
              deletionGracePeriodSeconds: undefined,
            },
          },
        },
      ),
    ],
  },
  ...[
    ['key with a space', { 'a b': 'c' }],
    ['key with two slashes', { 'a/b/c': 'd' }],
    ['key with an empty prefix', { '/a': 'b' }],
    ['key with a prefix in capitals', { 'Example.com/a': 'b' }],
    ['key of 64 characters', { ['k'.repeat(64)]: 'v' }],
    ['value with a space', { a: 'b c' }],
    ['value of 64 characters', { a: 'v'.repeat(64) }],
    ['value that ends in a dash', { a: 'b-' }],
  ].map(
    ([what, given]): Case => ({
      it: `refuses a label ${what}`,
      source: labels,
      steps: [
        post(configMaps, { metadata: { name: '{n}', labels: given ?? {} } }, invalid('metadata.labels')),
        get(one, 404),
      ],
    }),
  ),
  {
    it: 'takes labels with a prefix, with no value and of 63 characters',
    source: labels,
    steps: [
      post(
        configMaps,
        configMap('{n}', {}, { labels: { 'example.com/a_b.C': '', [`k${'x'.repeat(62)}`]: 'v'.repeat(63) } }),
        {
          code: 201,
          body: { metadata: { labels: { 'example.com/a_b.C': '' } } },
        },
      ),
    ],
  },
  {
    it: 'refuses an annotation key that is no qualified name',
    source: annotations,
    steps: [post(configMaps, configMap('{n}', {}, { annotations: { 'a b': 'c' } }), invalid('metadata.annotations'))],
  },
  {
    it: 'takes any text as the value of an annotation',
    source: annotations,
    steps: [
      post(configMaps, configMap('{n}', {}, { annotations: { 'example.com/Key': 'ä "x"\n\u2028' } }), {
        code: 201,
        body: { metadata: { annotations: { 'example.com/Key': 'ä "x"\n\u2028' } } },
      }),
    ],
  },
  {
    it: 'refuses annotations of more than 256 KiB together',
    source: docs.source('staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go'),
    steps: [
      post(configMaps, configMap('{n}', {}, { annotations: { a: 'x'.repeat(256 * 1024) } }), {
        ...invalid('metadata.annotations', 'FieldValueTooLong'),
      }),
    ],
  },
  {
    it: 'refuses owners without a uid, name, kind or version',
    source: metadataRules,
    steps: [
      post(
        configMaps,
        configMap('{n}', {}, { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'x', uid: '' }] }),
        invalid('metadata.ownerReferences.uid'),
      ),
    ],
  },
  {
    it: 'refuses two owners that both control',
    source: metadataRules,
    steps: [
      post(
        configMaps,
        configMap(
          '{n}',
          {},
          {
            ownerReferences: [
              { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', uid: 'x', controller: true },
              { apiVersion: 'v1', kind: 'ConfigMap', name: 'y', uid: 'y', controller: true },
            ],
          },
        ),
        invalid('metadata.ownerReferences'),
      ),
    ],
  },
  {
    it: 'refuses a finalizer that is no qualified name',
    source: metadataRules,
    steps: [post(configMaps, configMap('{n}', {}, { finalizers: ['a b'] }), { code: 422, reason: 'Invalid' })],
  },
  {
    it: 'refuses values of the wrong type in a core object with 400',
    source: docs.conventions('http-status-codes'),
    steps: [
      post(configMaps, { metadata: { name: '{n}' }, data: { a: 1 } }, { code: 400, reason: 'BadRequest' }),
      post(configMaps, { metadata: { name: '{n}' }, data: 'text' }, { code: 400, reason: 'BadRequest' }),
      post(configMaps, { metadata: { name: 7 } }, { code: 400, reason: 'BadRequest' }),
      post(configMaps, { metadata: { name: '{n}', labels: { a: 1 } } }, { code: 400, reason: 'BadRequest' }),
      post(configMaps, { metadata: 'text' }, { code: 400, reason: 'BadRequest' }),
      get(one, 404),
    ],
  },
  {
    it: 'refuses bytes that are not in base64 with 400',
    source: docs.conventions('http-status-codes'),
    steps: [
      post(configMaps, { metadata: { name: '{n}' }, binaryData: { a: '*' } }, { code: 400, reason: 'BadRequest' }),
      get(one, 404),
    ],
  },
  {
    it: 'refuses keys of data that are no file names',
    source: docs.page('concepts/configuration/configmap/#configmap-object'),
    steps: [
      post(configMaps, configMap('{n}', { 'a/b': '' }), invalid('data[a/b]')),
      post(configMaps, configMap('{n}', { '..': '' }), invalid('data[..]')),
    ],
  },
  {
    it: 'refuses a key that is both in data and in binaryData',
    source: docs.page('concepts/configuration/configmap/#configmap-object'),
    steps: [
      post(
        configMaps,
        { metadata: { name: '{n}' }, data: { a: '' }, binaryData: { a: '' } },
        { code: 422, reason: 'Invalid' },
      ),
    ],
  },
  {
    it: 'refuses data of more than 1 MiB',
    source: docs.page('concepts/configuration/configmap/#motivation'),
    steps: [
      post(configMaps, configMap('{n}', { a: 'x'.repeat(1024 * 1024 + 1) }), { code: 422, reason: 'Invalid' }),
      get(one, 404),
    ],
  },
  {
    it: 'stores nothing in a dry run, and answers as if it had',
    source: dryRun,
    steps: [
      post(`${configMaps}?dryRun=All`, configMap('{n}'), {
        code: 201,
        body: { metadata: { name: '{n}', uid: /./u, creationTimestamp: aTime } },
      }),
      get(one, 404),
    ],
  },
  {
    it: 'checks in a dry run as otherwise',
    source: dryRun,
    steps: [
      post(configMaps, configMap('{n}')),
      post(`${configMaps}?dryRun=All`, configMap('{n}'), { code: 409, reason: 'AlreadyExists' }),
      post(`${configMaps}?dryRun=All`, configMap('Bad_Name'), invalid('metadata.name')),
    ],
  },
  {
    it: 'warns of fields that it does not know, and of doubled ones, and leaves them out',
    source: unknown,
    since: 25,
    steps: [
      post(configMaps, '{"metadata":{"name":"{n}"},"dta":{"a":"b"}}', {
        code: 201,
        body: { dta: undefined },
        headers: { warning: /^299 - "unknown field \\"dta\\""$/u },
      }),
      post(configMaps, '{"metadata":{"name":"{n}-2"},"data":{"a":"b","a":"c"}}', {
        code: 201,
        headers: { warning: /duplicate field \\"data\.a\\"/u },
      }),
    ],
  },
  {
    it: 'refuses unknown and doubled fields under fieldValidation=Strict with 400',
    source: unknown,
    since: 25,
    steps: [
      post(`${configMaps}?fieldValidation=Strict`, '{"metadata":{"name":"{n}"},"dta":{}}', {
        code: 400,
        reason: 'BadRequest',
        message: /strict decoding error: unknown field "dta"/u,
      }),
      post(`${configMaps}?fieldValidation=Strict`, '{"metadata":{"name":"{n}"},"data":{"a":"b","a":"c"}}', {
        code: 400,
        reason: 'BadRequest',
        message: /strict decoding error: duplicate field "data\.a"/u,
      }),
      get(one, 404),
    ],
  },
  {
    it: 'says nothing of unknown fields under fieldValidation=Ignore',
    source: unknown,
    since: 25,
    steps: [
      post(
        `${configMaps}?fieldValidation=Ignore`,
        { metadata: { name: '{n}' }, dta: {} },
        { code: 201, headers: { warning: undefined } },
      ),
    ],
  },
  {
    it: 'refuses a dryRun that it does not know with 422',
    source: docs.source('staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go'),
    steps: [
      post(`${configMaps}?dryRun=Some`, configMap('{n}'), invalid('dryRun', 'FieldValueNotSupported')),
      get(one, 404),
    ],
  },
  {
    it: 'refuses a fieldValidation that it does not know with 422',
    source: docs.source('staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go'),
    since: 25,
    steps: [
      post(
        `${configMaps}?fieldValidation=Some`,
        configMap('{n}'),
        invalid('fieldValidation', 'FieldValueNotSupported'),
      ),
    ],
  },
];
