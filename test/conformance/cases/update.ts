/** Updating with PUT: optimistic concurrency, what may not change, and what a PUT refuses. */
import { type Case, configMap, configMaps, docs, get, post, put, secret, secrets } from '../case.ts';
import { aRevision } from '../expect.ts';

const concurrency = docs.conventions('concurrency-control-and-consistency');
const handler = docs.source('staging/src/k8s.io/apiserver/pkg/endpoints/handlers/update.go');
const strategy = docs.source('staging/src/k8s.io/apiserver/pkg/registry/rest/update.go');
const one = `${configMaps}/{n}`;
const make = post(configMaps, configMap('{n}'), 201, {
  save: { rv: 'metadata.resourceVersion', uid: 'metadata.uid', time: 'metadata.creationTimestamp' },
});
const forbidden = (field: string) =>
  ({ code: 422, reason: 'Invalid', causes: [[field, 'FieldValueForbidden']] }) as const;

export const updateCases: readonly Case[] = [
  {
    it: 'gets an object as it was stored',
    source: docs.concepts('api-verbs'),
    steps: [
      make,
      get(one, {
        code: 200,
        body: { metadata: { name: '{n}', uid: '{uid}', resourceVersion: '{rv}' }, data: { a: '1' } },
      }),
    ],
  },
  {
    it: 'answers for what is not there with 404, and names it',
    source: docs.conventions('http-status-codes'),
    steps: [
      get(one, {
        code: 404,
        reason: 'NotFound',
        message: /^configmaps "c\d+" not found$/u,
        body: { details: { name: '{n}', kind: 'configmaps' } },
      }),
    ],
  },
  {
    it: 'replaces the object whole',
    source: docs.concepts('api-verbs'),
    steps: [
      make,
      put(one, configMap('{n}', { b: '2' }), { code: 200, body: { data: { a: undefined, b: '2' } } }),
      get(one, { code: 200, body: { data: { a: undefined, b: '2' } } }),
    ],
  },
  {
    it: 'gives a changed object a new resourceVersion, and keeps its uid and time of creation',
    source: concurrency,
    steps: [
      make,
      put(one, configMap('{n}', { a: '2' }, { resourceVersion: '{rv}' }), 200, {
        save: { rv2: 'metadata.resourceVersion' },
      }),
      get(one, {
        code: 200,
        body: { metadata: { resourceVersion: '{rv2}', uid: '{uid}', creationTimestamp: '{time}' } },
      }),
      put(one, configMap('{n}', { a: '3' }, { resourceVersion: '{rv}' }), { code: 409, reason: 'Conflict' }),
    ],
  },
  {
    it: 'refuses to change another version than the one that is there with 409 Conflict',
    source: concurrency,
    steps: [
      make,
      put(one, configMap('{n}', { a: '2' })),
      put(one, configMap('{n}', { a: '3' }, { resourceVersion: '{rv}' }), {
        code: 409,
        reason: 'Conflict',
        message:
          /^Operation cannot be fulfilled on configmaps "c\d+": the object has been modified; please apply your changes to the latest version and try again$/u,
        body: { details: { name: '{n}', kind: 'configmaps' } },
      }),
      get(one, { code: 200, body: { data: { a: '2' } } }),
    ],
  },
  {
    it: 'changes a core object without a resourceVersion whatever version it has',
    source: concurrency,
    steps: [
      make,
      put(one, configMap('{n}', { a: '2' }), { code: 200, body: { metadata: { resourceVersion: aRevision } } }),
    ],
  },
  {
    it: 'writes nothing if nothing changes',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go'),
    steps: [make, put(one, configMap('{n}'), { code: 200, body: { metadata: { resourceVersion: '{rv}' } } })],
  },
  {
    it: 'does not create with PUT',
    source: docs.source('pkg/registry/core/configmap/strategy.go'),
    steps: [put(one, configMap('{n}'), { code: 404, reason: 'NotFound' }), get(one, 404)],
  },
  {
    it: 'refuses another name than that of the path with 400',
    source: handler,
    steps: [
      make,
      put(one, configMap('other'), {
        code: 400,
        reason: 'BadRequest',
        message: /^the name of the object \(other\) does not match the name on the URL \(c\d+\)$/u,
      }),
    ],
  },
  {
    it: 'refuses a body without a name with 400',
    source: handler,
    steps: [make, put(one, { data: {} }, { code: 400, reason: 'BadRequest' })],
  },
  {
    it: 'refuses another namespace than that of the path with 400',
    source: handler,
    steps: [make, put(one, configMap('{n}', {}, { namespace: 'default' }), { code: 400, reason: 'BadRequest' })],
  },
  {
    it: 'refuses to update the object of another uid with 409 Conflict',
    source: handler,
    steps: [
      make,
      put(one, configMap('{n}', { a: '2' }, { uid: 'another' }), { code: 409, reason: 'Conflict' }),
      get(one, { code: 200, body: { data: { a: '1' } } }),
    ],
  },
  {
    it: 'takes a uid that is right as a precondition that holds',
    source: handler,
    steps: [make, put(one, configMap('{n}', { a: '2' }, { uid: '{uid}' }), { code: 200, body: { data: { a: '2' } } })],
  },
  {
    it: 'ignores another time of creation, and a selfLink',
    source: strategy,
    steps: [
      make,
      put(
        one,
        configMap(
          '{n}',
          { a: '2' },
          {
            creationTimestamp: '2001-01-01T00:00:00Z',
            selfLink: '/x',
          },
        ),
        { code: 200, body: { metadata: { creationTimestamp: '{time}', deletionTimestamp: undefined } } },
      ),
    ],
  },
  {
    it: 'refuses to mark an object as deleted by an update',
    source: docs.source('staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go'),
    steps: [
      make,
      put(one, configMap('{n}', { a: '2' }, { deletionTimestamp: '2001-01-01T00:00:00Z' }), {
        code: 422,
        reason: 'Invalid',
        causes: [['metadata.deletionTimestamp', 'FieldValueInvalid']],
      }),
    ],
  },
  {
    it: 'replaces labels and annotations too',
    source: docs.concepts('api-verbs'),
    steps: [
      post(configMaps, configMap('{n}', {}, { labels: { old: '1' }, annotations: { old: '1' } })),
      put(one, configMap('{n}', {}, { labels: { new: '1' } }), {
        code: 200,
        body: { metadata: { labels: { old: undefined, new: '1' }, annotations: undefined } },
      }),
    ],
  },
  {
    it: 'checks what it is given as on creation',
    source: docs.conventions('http-status-codes'),
    steps: [
      make,
      put(one, configMap('{n}', { 'a b': '' }), {
        code: 422,
        reason: 'Invalid',
        causes: [['data[a b]', 'FieldValueInvalid']],
        body: { details: { name: '{n}', kind: 'ConfigMap' } },
      }),
      get(one, { code: 200, body: { metadata: { resourceVersion: '{rv}' } } }),
    ],
  },
  {
    it: 'tells of all fields that are wrong at once',
    source: docs.conventions('response-status-kind'),
    steps: [
      make,
      put(one, configMap('{n}', { 'a b': '', 'c d': '' }, { labels: { x: 'y z' } }), {
        code: 422,
        reason: 'Invalid',
        causes: [
          ['data[a b]', 'FieldValueInvalid'],
          ['data[c d]', 'FieldValueInvalid'],
          ['metadata.labels', 'FieldValueInvalid'],
        ],
      }),
    ],
  },
  {
    it: 'does not change the data of an immutable ConfigMap, nor make it mutable again',
    source: docs.page('concepts/configuration/configmap/#configmap-immutable'),
    since: 19,
    steps: [
      post(configMaps, { ...configMap('{n}'), immutable: true }),
      put(one, { ...configMap('{n}', { a: '2' }), immutable: true }, forbidden('data')),
      put(one, configMap('{n}'), forbidden('immutable')),
      put(one, { ...configMap('{n}', { a: '1' }, { labels: { x: 'y' } }), immutable: true }),
    ],
  },
  {
    it: 'does not change the type of a Secret',
    source: docs.source('pkg/apis/core/validation/validation.go'),
    steps: [
      post(secrets, secret('{n}', { type: 'example.com/a' })),
      put(`${secrets}/{n}`, secret('{n}', { type: 'example.com/b' }), {
        code: 422,
        reason: 'Invalid',
        causes: [['type', 'FieldValueInvalid']],
      }),
    ],
  },
  {
    it: 'changes nothing in a dry run',
    source: docs.concepts('dry-run'),
    steps: [
      make,
      put(`${one}?dryRun=All`, configMap('{n}', { a: '2' }), { code: 200, body: { data: { a: '2' } } }),
      get(one, { code: 200, body: { metadata: { resourceVersion: '{rv}' }, data: { a: '1' } } }),
    ],
  },
  {
    it: 'gets the version that is asked for, or a later one',
    source: docs.concepts('resource-versions'),
    steps: [make, get(`${one}?resourceVersion={rv}`, { code: 200, body: { metadata: { resourceVersion: '{rv}' } } })],
  },
];
