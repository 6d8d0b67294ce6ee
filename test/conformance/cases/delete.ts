/** Deleting: preconditions, finalizers, propagation, and whole collections. */
import {
  type Case,
  configMap,
  configMaps,
  del,
  docs,
  get,
  ofCase,
  patch,
  post,
  put,
  widget,
  widgets,
} from '../case.ts';
import { aTime, excluding, including } from '../expect.ts';

const deletion = docs.concepts('resource-deletion');
const finalizers = docs.page('concepts/overview/working-with-objects/finalizers/');
const options = docs.page('reference/kubernetes-api/common-definitions/delete-options/');
const rules = docs.source('staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go');
const store = docs.source('staging/src/k8s.io/apiserver/pkg/registry/generic/registry/store.go');
const one = `${configMaps}/{n}`;
const make = post(configMaps, configMap('{n}'), 201, { save: { rv: 'metadata.resourceVersion', uid: 'metadata.uid' } });
const held = post(configMaps, configMap('{n}', { a: '1' }, { finalizers: ['example.com/hold'] }), 201, {
  save: { rv: 'metadata.resourceVersion', uid: 'metadata.uid' },
});
const release = patch('merge', one, { metadata: { finalizers: null } });
const withOptions = (content: Parameters<typeof post>[1]) => ({
  body: { kind: 'DeleteOptions', apiVersion: 'v1', ...(content as object) },
});
const conflict = { code: 409, reason: 'Conflict' } as const;

export const deleteCases: readonly Case[] = [
  {
    it: 'deletes at once what nothing holds, and answers with a Status that names it',
    source: deletion,
    steps: [
      make,
      del(one, {
        code: 200,
        body: {
          kind: 'Status',
          apiVersion: 'v1',
          status: 'Success',
          details: { name: '{n}', kind: 'configmaps', uid: '{uid}' },
        },
      }),
      get(one, 404),
    ],
  },
  {
    it: 'names the group of a custom resource that it deleted',
    source: store,
    needs: 'widgets',
    steps: [
      post(widgets, widget('{n}')),
      del(`${widgets}/{n}`, {
        code: 200,
        body: { status: 'Success', details: { name: '{n}', group: '{group}', kind: 'widgets' } },
      }),
    ],
  },
  {
    it: 'refuses to delete what is not there with 404',
    source: deletion,
    steps: [del(one, { code: 404, reason: 'NotFound', body: { details: { name: '{n}', kind: 'configmaps' } } })],
  },
  {
    it: 'deletes only the object of the uid that the preconditions name',
    source: options,
    steps: [
      make,
      del(one, conflict, withOptions({ preconditions: { uid: 'another' } })),
      get(one),
      del(one, 200, withOptions({ preconditions: { uid: '{uid}' } })),
      get(one, 404),
    ],
  },
  {
    it: 'deletes only the version that the preconditions name',
    source: options,
    steps: [
      make,
      put(one, configMap('{n}', { a: '2' }), 200, { save: { rv2: 'metadata.resourceVersion' } }),
      del(one, conflict, withOptions({ preconditions: { resourceVersion: '{rv}' } })),
      get(one),
      del(one, 200, withOptions({ preconditions: { resourceVersion: '{rv2}' } })),
    ],
  },
  {
    it: 'takes options in YAML',
    source: options,
    steps: [
      make,
      del(one, conflict, {
        body: 'kind: DeleteOptions\napiVersion: v1\npreconditions:\n  uid: another\n',
        headers: { 'content-type': 'application/yaml' },
      }),
      get(one),
    ],
  },
  {
    it: 'takes options in the query',
    source: options,
    steps: [
      make,
      del(`${one}?dryRun=All`),
      get(one),
      del(`${one}?propagationPolicy=Background&gracePeriodSeconds=0`),
      get(one, 404),
    ],
  },
  {
    it: 'deletes nothing in a dry run',
    source: docs.concepts('dry-run'),
    steps: [
      make,
      del(one, 200, withOptions({ dryRun: ['All'] })),
      get(one, { code: 200, body: { metadata: { resourceVersion: '{rv}' } } }),
    ],
  },
  {
    it: 'refuses options that are no JSON',
    source: options,
    steps: [make, del(one, { code: [400, 500] }, { body: '{' }), get(one)],
  },
  {
    it: 'refuses a propagation policy that it does not know with 422',
    source: rules,
    steps: [
      make,
      del(
        one,
        { code: 422, reason: 'Invalid', causes: [['propagationPolicy', 'FieldValueNotSupported']] },
        withOptions({
          propagationPolicy: 'Sideways',
        }),
      ),
      get(one),
    ],
  },
  {
    it: 'refuses both orphanDependents and a propagation policy with 422',
    source: rules,
    steps: [
      make,
      del(one, { code: 422, reason: 'Invalid' }, withOptions({ propagationPolicy: 'Orphan', orphanDependents: true })),
      get(one),
    ],
  },
  {
    it: 'refuses a dryRun of a deletion that it does not know with 422',
    source: rules,
    steps: [make, del(`${one}?dryRun=Some`, { code: 422, reason: 'Invalid' }), get(one)],
  },
  {
    it: 'only marks what a finalizer holds, and answers with the object',
    source: finalizers,
    steps: [
      held,
      del(one, {
        code: 200,
        body: {
          kind: 'ConfigMap',
          metadata: { deletionTimestamp: aTime, deletionGracePeriodSeconds: 0, finalizers: ['example.com/hold'] },
        },
      }),
      get(one, { code: 200, body: { metadata: { deletionTimestamp: aTime } } }),
      release,
    ],
  },
  {
    it: 'removes the object with its last finalizer',
    source: finalizers,
    steps: [held, del(one), patch('merge', one, { metadata: { finalizers: [] } }), get(one, 404)],
  },
  {
    it: 'removes a held object that is replaced without finalizers',
    source: finalizers,
    steps: [held, del(one), put(one, configMap('{n}')), get(one, 404)],
  },
  {
    it: 'keeps the time at which a deletion was first asked for',
    source: finalizers,
    steps: [
      held,
      del(one, 200, { save: { time: 'metadata.deletionTimestamp', rv: 'metadata.resourceVersion' } }),
      del(one, { code: 200, body: { metadata: { deletionTimestamp: '{time}' } } }),
      get(one, { code: 200, body: { metadata: { resourceVersion: '{rv}' } } }),
      release,
    ],
  },
  {
    it: 'lets an object that is being deleted be changed',
    source: finalizers,
    steps: [
      held,
      del(one),
      patch('merge', one, { data: { a: '2' } }, { code: 200, body: { data: { a: '2' } } }),
      release,
    ],
  },
  {
    it: 'lets nobody add a finalizer to an object that is being deleted',
    source: finalizers,
    steps: [
      held,
      del(one),
      patch(
        'merge',
        one,
        { metadata: { finalizers: ['example.com/hold', 'example.com/more'] } },
        {
          code: 422,
          reason: 'Invalid',
          causes: [['metadata.finalizers', 'FieldValueForbidden']],
        },
      ),
      release,
    ],
  },
  {
    it: 'does not take back a deletion',
    source: finalizers,
    steps: [
      held,
      del(one),
      patch(
        'merge',
        one,
        { metadata: { deletionTimestamp: null } },
        {
          code: 200,
          body: { metadata: { deletionTimestamp: aTime } },
        },
      ),
      release,
    ],
  },
  {
    it: 'refuses to create what is being deleted with 409',
    source: docs.conventions('http-status-codes'),
    steps: [held, del(one), post(configMaps, configMap('{n}'), { code: 409, reason: 'AlreadyExists' }), release],
  },
  {
    it: 'deletes in the foreground by a finalizer of its own',
    source: docs.page('concepts/architecture/garbage-collection/#foreground-deletion'),
    steps: [
      held,
      del(
        one,
        { code: [200, 202], body: { metadata: { finalizers: including('example.com/hold', 'foregroundDeletion') } } },
        withOptions({
          propagationPolicy: 'Foreground',
        }),
      ),
      patch('json', one, [{ op: 'remove', path: '/metadata/finalizers' }], 200),
    ],
  },
  {
    it: 'orphans dependents by a finalizer of its own',
    source: docs.page('concepts/architecture/garbage-collection/#orphaned-dependents'),
    steps: [
      held,
      del(
        one,
        { code: 200, body: { metadata: { finalizers: including('example.com/hold', 'orphan') } } },
        withOptions({
          propagationPolicy: 'Orphan',
        }),
      ),
      patch('json', one, [{ op: 'remove', path: '/metadata/finalizers' }], 200),
    ],
  },
  {
    it: 'deletes all of a collection that a label selector picks, and answers with the list',
    source: docs.concepts('api-verbs'),
    steps: [
      post(configMaps, configMap('{n}-1', {}, { labels: { go: 'yes' } })),
      post(configMaps, configMap('{n}-2', {}, { labels: { go: 'no' } })),
      del(`${configMaps}?labelSelector=case%3D{n},go%3Dyes`, {
        code: 200,
        body: { kind: 'ConfigMapList', items: [{ metadata: { name: '{n}-1' } }] },
      }),
      get(`${configMaps}?${ofCase}`, { code: 200, body: { items: [{ metadata: { name: '{n}-2' } }] } }),
    ],
  },
  {
    it: 'deletes what a field selector picks of a collection',
    source: docs.page('concepts/overview/working-with-objects/field-selectors/'),
    steps: [
      post(configMaps, configMap('{n}-1')),
      post(configMaps, configMap('{n}-2')),
      del(`${configMaps}?fieldSelector=metadata.name%3D{n}-2`),
      get(`${configMaps}?${ofCase}`, { code: 200, body: { items: [{ metadata: { name: '{n}-1' } }] } }),
    ],
  },
  {
    it: 'deletes nothing of a collection in a dry run',
    source: docs.concepts('dry-run'),
    steps: [make, del(`${configMaps}?${ofCase}&dryRun=All`), get(one)],
  },
  {
    it: 'deletes nothing of a collection if the selector cannot be read',
    source: docs.page('concepts/overview/working-with-objects/labels/'),
    steps: [make, del(`${configMaps}?labelSelector=a%3D%3D%3Db`, { code: 400, reason: 'BadRequest' }), get(one)],
  },
  {
    it: 'only marks what finalizers hold in a collection',
    source: finalizers,
    steps: [
      held,
      del(`${configMaps}?${ofCase}`),
      get(one, { code: 200, body: { metadata: { deletionTimestamp: aTime } } }),
      release,
    ],
  },
  {
    it: 'does not list what is deleted',
    source: deletion,
    steps: [make, del(one), get(configMaps, { code: 200, body: { items: excluding({ metadata: { name: '{n}' } }) } })],
  },
];
