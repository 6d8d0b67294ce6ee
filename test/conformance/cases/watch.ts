/** Watches. */
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
  secret,
  secrets,
  watch,
} from '../case.ts';
import { aRevision, excluding } from '../expect.ts';

const efficient = docs.concepts('efficient-detection-of-changes');
const semantics = docs.concepts('semantics-for-watch');
const streaming = docs.concepts('streaming-lists');
const selecting = docs.source('staging/src/k8s.io/apiserver/pkg/storage/cacher/cache_watcher.go');
const rules = docs.source('staging/src/k8s.io/apimachinery/pkg/apis/meta/internalversion/validation/validation.go');
const one = `${configMaps}/{n}`;
const begin = post(configMaps, configMap('{n}-first'), 201, { save: { rv: 'metadata.resourceVersion' } });
const since = `${configMaps}?watch=true&${ofCase}&resourceVersion={rv}`;
const event = (type: string, name: string, more: object = {}) =>
  ({
    type,
    object: { kind: 'ConfigMap', apiVersion: 'v1', metadata: { name, resourceVersion: aRevision }, ...more },
  }) as const;

export const watchCases: readonly Case[] = [
  {
    it: 'brings every change after a version, in order',
    source: efficient,
    steps: [
      begin,
      watch(
        since,
        [
          event('ADDED', '{n}', { data: { a: '1' } }),
          event('MODIFIED', '{n}', { data: { a: '2' } }),
          event('DELETED', '{n}', { data: { a: '2' } }),
        ],
        { during: [post(configMaps, configMap('{n}')), put(one, configMap('{n}', { a: '2' })), del(one)] },
      ),
    ],
  },
  {
    it: 'brings the changes between a version and the beginning of the watch',
    source: efficient,
    steps: [
      begin,
      post(configMaps, configMap('{n}')),
      put(one, configMap('{n}', { a: '2' })),
      del(one),
      watch(since, [event('ADDED', '{n}'), event('MODIFIED', '{n}'), event('DELETED', '{n}')]),
    ],
  },
  {
    it: 'goes on from the version of a list without a gap',
    source: efficient,
    steps: [
      begin,
      get(`${configMaps}?${ofCase}`, 200, { save: { rv: 'metadata.resourceVersion' } }),
      post(configMaps, configMap('{n}')),
      watch(since, [event('ADDED', '{n}')]),
    ],
  },
  {
    it: 'begins without a version with what there is, as ADDED',
    source: semantics,
    steps: [
      begin,
      watch(`${configMaps}?watch=true&${ofCase}`, [event('ADDED', '{n}-first'), event('ADDED', '{n}')], {
        during: [post(configMaps, configMap('{n}'))],
      }),
    ],
  },
  {
    it: 'begins at version 0 with what there is, as ADDED',
    source: semantics,
    steps: [
      begin,
      get(`${configMaps}?${ofCase}&resourceVersion={rv}`),
      watch(`${configMaps}?watch=true&${ofCase}&resourceVersion=0`, [event('ADDED', '{n}-first')]),
    ],
  },
  {
    it: 'shows a deleted object as it last was, under the version of its deletion',
    source: efficient,
    steps: [
      begin,
      post(configMaps, configMap('{n}', { a: 'last' }), 201, { save: { made: 'metadata.resourceVersion' } }),
      del(one),
      post(configMaps, configMap('{n}-after'), 201, { save: { after: 'metadata.resourceVersion' } }),
      watch(since, [
        event('ADDED', '{n}', { metadata: { name: '{n}', resourceVersion: '{made}' } }),
        event('DELETED', '{n}', { data: { a: 'last' } }),
        event('ADDED', '{n}-after', { metadata: { resourceVersion: '{after}' } }),
      ]),
      watch(`${configMaps}?watch=true&${ofCase}&resourceVersion={made}`, [
        event('DELETED', '{n}'),
        event('ADDED', '{n}-after'),
      ]),
    ],
  },
  {
    it: 'brings nothing for a write that changes nothing',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go'),
    steps: [
      begin,
      watch(since, [event('ADDED', '{n}'), event('MODIFIED', '{n}', { data: { a: '2' } })], {
        during: [
          post(configMaps, configMap('{n}')),
          put(one, configMap('{n}')),
          put(one, configMap('{n}', { a: '2' })),
        ],
      }),
    ],
  },
  {
    it: 'an object that comes to match the label selector is ADDED, one that ceases to is DELETED',
    source: selecting,
    steps: [
      begin,
      watch(
        `${configMaps}?watch=true&labelSelector=case%3D{n},show%3Dyes&resourceVersion={rv}`,
        [event('ADDED', '{n}', { data: { a: '2' } }), event('DELETED', '{n}', { data: { a: '2' } })],
        {
          during: [
            post(configMaps, configMap('{n}')),
            put(one, configMap('{n}', { a: '2' }, { labels: { show: 'yes' } })),
            put(one, configMap('{n}', { a: '3' })),
          ],
        },
      ),
    ],
  },
  {
    it: 'watches one object by a field selector of its name',
    source: docs.page('concepts/overview/working-with-objects/field-selectors/'),
    steps: [
      begin,
      watch(
        `${configMaps}?watch=true&fieldSelector=metadata.name%3D{n}&resourceVersion={rv}`,
        [event('ADDED', '{n}'), event('DELETED', '{n}')],
        { during: [post(configMaps, configMap('{n}-other')), post(configMaps, configMap('{n}')), del(one)] },
      ),
    ],
  },
  {
    it: 'watches what a field selector of another field picks',
    source: docs.page('concepts/overview/working-with-objects/field-selectors/'),
    steps: [
      post(secrets, secret('{n}-first'), 201, { save: { rv: 'metadata.resourceVersion' } }),
      watch(
        `${secrets}?watch=true&${ofCase}&fieldSelector=type%3Dexample.com/b&resourceVersion={rv}`,
        [{ type: 'ADDED', object: { kind: 'Secret', metadata: { name: '{n}-b' } } }],
        {
          during: [
            post(secrets, secret('{n}-a', { type: 'example.com/a' })),
            post(secrets, secret('{n}-b', { type: 'example.com/b' })),
          ],
        },
      ),
    ],
  },
  {
    it: 'watches all namespaces',
    source: docs.concepts('resource-uris'),
    steps: [
      begin,
      watch(`/api/v1/configmaps?watch=true&${ofCase}&resourceVersion={rv}`, [event('ADDED', '{n}')], {
        during: [post(configMaps, configMap('{n}'))],
      }),
    ],
  },
  {
    it: 'brings the marking of what a finalizer holds as MODIFIED, and its end as DELETED',
    source: docs.page('concepts/overview/working-with-objects/finalizers/'),
    steps: [
      begin,
      watch(
        since,
        [
          event('ADDED', '{n}'),
          event('MODIFIED', '{n}', { metadata: { deletionTimestamp: /./u } }),
          event('DELETED', '{n}'),
        ],
        {
          during: [
            post(configMaps, configMap('{n}', {}, { finalizers: ['example.com/hold'] })),
            del(one),
            patch('merge', one, { metadata: { finalizers: null } }),
          ],
        },
      ),
    ],
  },
  {
    it: 'ends after timeoutSeconds',
    source: docs.page('reference/kubernetes-api/common-parameters/common-parameters/#timeoutSeconds'),
    steps: [
      begin,
      watch(`${configMaps}?watch=true&${ofCase}&timeoutSeconds=1`, [event('ADDED', '{n}-first')], { ends: true }),
    ],
  },
  {
    it: 'takes watch=1 for watch=true',
    source: efficient,
    steps: [begin, watch(`${configMaps}?watch=1&${ofCase}`, [event('ADDED', '{n}-first')])],
  },
  {
    it: 'takes watch=false for a list',
    source: efficient,
    steps: [begin, get(`${configMaps}?watch=false&${ofCase}`, { code: 200, body: { kind: 'ConfigMapList' } })],
  },
  {
    it: 'refuses a timeout that is no number with 400',
    source: docs.page('reference/kubernetes-api/common-parameters/common-parameters/#timeoutSeconds'),
    steps: [get(`${configMaps}?watch=true&timeoutSeconds=soon`, { code: 400, reason: 'BadRequest' })],
  },
  {
    it: 'refuses to watch by a selector that cannot be read with 400',
    source: docs.page('concepts/overview/working-with-objects/labels/'),
    steps: [
      get(`${configMaps}?watch=true&timeoutSeconds=1&labelSelector=a%3D%3D%3Db`, { code: 400, reason: 'BadRequest' }),
      get(`${configMaps}?watch=true&timeoutSeconds=1&fieldSelector=data.a%3Db`, { code: 400, reason: 'BadRequest' }),
    ],
  },
  {
    it: 'refuses resourceVersionMatch for a watch without sendInitialEvents with 422',
    source: rules,
    steps: [
      get(`${configMaps}?watch=true&timeoutSeconds=1&resourceVersion=1&resourceVersionMatch=NotOlderThan`, {
        code: 422,
        reason: 'Invalid',
        causes: [['resourceVersionMatch', 'FieldValueForbidden']],
      }),
    ],
  },
  {
    it: 'sends what there is, then a bookmark that says so, then what changes (sendInitialEvents)',
    source: streaming,
    needs: 'watchList',
    steps: [
      begin,
      watch(
        `${configMaps}?watch=true&${ofCase}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`,
        [
          event('ADDED', '{n}-first'),
          {
            type: 'BOOKMARK',
            object: {
              kind: 'ConfigMap',
              metadata: { resourceVersion: aRevision, annotations: { 'k8s.io/initial-events-end': 'true' } },
            },
          },
        ],
      ),
    ],
  },
  {
    it: 'refuses sendInitialEvents without resourceVersionMatch with 422',
    source: rules,
    needs: 'watchList',
    steps: [
      get(`${configMaps}?watch=true&timeoutSeconds=1&sendInitialEvents=true&allowWatchBookmarks=true`, {
        code: 422,
        reason: 'Invalid',
        causes: [['resourceVersionMatch', 'FieldValueForbidden']],
      }),
    ],
  },
  {
    it: 'refuses sendInitialEvents with the exact version with 422',
    source: rules,
    needs: 'watchList',
    steps: [
      get(
        `${configMaps}?watch=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersion=1&resourceVersionMatch=Exact&allowWatchBookmarks=true`,
        { code: 422, reason: 'Invalid', causes: [['resourceVersionMatch', 'FieldValueNotSupported']] },
      ),
    ],
  },
  {
    it: 'GET of one object with watch=true gets it',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/endpoints/installer.go'),
    steps: [
      post(configMaps, configMap('{n}')),
      get(`${one}?watch=true`, { code: 200, body: { kind: 'ConfigMap', data: { a: '1' } } }),
    ],
  },
  {
    it: 'watches at the paths below /watch/ as well, which are deprecated',
    source: docs.page('reference/generated/kubernetes-api/v1.32/#watch-list-configmap-v1-core'),
    steps: [
      begin,
      watch(`/api/v1/watch/namespaces/{ns}/configmaps?${ofCase}&resourceVersion={rv}`, [event('ADDED', '{n}')], {
        during: [post(configMaps, configMap('{n}'))],
      }),
      watch(`/api/v1/watch/configmaps?${ofCase}`, [{ type: 'ADDED', object: { kind: 'ConfigMap' } }]),
      watch('/api/v1/watch/namespaces/{ns}/configmaps/{n}-first', [event('ADDED', '{n}-first')]),
      watch(
        '/api/v1/watch/namespaces/{ns}/configmaps/{n}?resourceVersion={rv}',
        [event('ADDED', '{n}'), event('DELETED', '{n}')],
        { during: [del(one)] },
      ),
      watch('/api/v1/watch/namespaces/{ns}', [
        { type: 'ADDED', object: { kind: 'Namespace', metadata: { name: '{ns}' } } },
      ]),
    ],
  },
  {
    it: 'a list after a deletion does not have what the watch showed as deleted',
    source: efficient,
    steps: [
      begin,
      watch(since, [event('ADDED', '{n}'), event('DELETED', '{n}')], {
        during: [post(configMaps, configMap('{n}')), del(one)],
      }),
      get(`${configMaps}?${ofCase}`, { code: 200, body: { items: excluding({ metadata: { name: '{n}' } }) } }),
    ],
  },
];
