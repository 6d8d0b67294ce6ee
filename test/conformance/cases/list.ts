/** Lists: selectors, pages, and versions. */
import {
  type Case,
  configMap,
  configMaps,
  docs,
  events,
  get,
  ofCase,
  post,
  put,
  secret,
  secrets,
  watch,
  widget,
  widgets,
} from '../case.ts';
import { aList, aNumber, aRevision, excluding, including, nothing } from '../expect.ts';

const labels = docs.page('concepts/overview/working-with-objects/labels/#label-selectors');
const fields = docs.page('concepts/overview/working-with-objects/field-selectors/');
const chunks = docs.concepts('retrieving-large-results-sets-in-chunks');
const versions = docs.concepts('semantics-for-get-and-list');
const rules = docs.source('staging/src/k8s.io/apimachinery/pkg/apis/meta/internalversion/validation/validation.go');
const bad = { code: 400, reason: 'BadRequest' } as const;
const invalid = { code: 422, reason: 'Invalid' } as const;

/** Three objects: red and small, red and large, blue without a size. */
const three = [
  post(configMaps, configMap('{n}-a', { a: '1' }, { labels: { color: 'red', size: '1' } })),
  post(configMaps, configMap('{n}-b', { a: '1' }, { labels: { color: 'red', size: '10' } })),
  post(configMaps, configMap('{n}-c', { a: '1' }, { labels: { color: 'blue' } }), 201, {
    save: { rv: 'metadata.resourceVersion' },
  }),
];

const named = (...ends: readonly string[]) => ends.map((end) => ({ metadata: { name: `{n}-${end}` } }));

const picks = (selector: string, ...ends: readonly string[]): Case => ({
  it: `the label selector ${selector} picks ${ends.length} of 3`,
  source: labels,
  steps: [
    ...three,
    get(`${configMaps}?labelSelector=${encodeURIComponent('case=')}{n}${encodeURIComponent(`,${selector}`)}`, {
      code: 200,
      body: { items: named(...ends) },
    }),
  ],
});

const refusesLabels = (selector: string): Case => ({
  it: `refuses the label selector ${JSON.stringify(selector)} with 400`,
  source: labels,
  steps: [get(`${configMaps}?labelSelector=${encodeURIComponent(selector)}`, bad)],
});

export const listCases: readonly Case[] = [
  {
    it: 'items of a list of built-in kinds have no kind and apiVersion of their own, those of a watch have',
    source: docs.source('staging/src/k8s.io/apimachinery/pkg/runtime/serializer/versioning/versioning.go'),
    steps: [
      post(configMaps, configMap('{n}')),
      get(`${configMaps}?${ofCase}`, {
        code: 200,
        body: {
          kind: 'ConfigMapList',
          apiVersion: 'v1',
          items: [{ kind: undefined, apiVersion: undefined, metadata: { name: '{n}' }, data: { a: '1' } }],
        },
      }),
      watch(`${configMaps}?watch=true&${ofCase}`, [
        { type: 'ADDED', object: { kind: 'ConfigMap', apiVersion: 'v1', metadata: { name: '{n}' } } },
      ]),
    ],
  },
  {
    it: 'lists the objects of a namespace in the order of their names, with a resourceVersion',
    source: docs.concepts('collections'),
    steps: [
      ...three,
      get(`${configMaps}?${ofCase}`, {
        code: 200,
        body: {
          kind: 'ConfigMapList',
          apiVersion: 'v1',
          metadata: { resourceVersion: aRevision, continue: nothing },
          items: named('a', 'b', 'c'),
        },
      }),
    ],
  },
  {
    it: 'lists nothing as an empty list',
    source: docs.concepts('collections'),
    steps: [get(`${configMaps}?labelSelector=case%3D{n}`, { code: 200, body: { kind: 'ConfigMapList', items: [] } })],
  },
  {
    it: 'lists what is in a namespace that is not there as an empty list',
    source: docs.concepts('collections'),
    steps: [get('/api/v1/namespaces/{n}-absent/configmaps', { code: 200, body: { items: [] } })],
  },
  {
    it: 'lists the objects of all namespaces',
    source: docs.concepts('resource-uris'),
    steps: [
      ...three,
      get(`/api/v1/configmaps?${ofCase}&fieldSelector=metadata.namespace%3D{ns}`, {
        code: 200,
        body: { items: named('a', 'b', 'c') },
      }),
    ],
  },
  {
    it: 'items of a list of custom resources name their kind and version',
    source: docs.source('staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go'),
    needs: 'widgets',
    steps: [
      post(widgets, widget('{n}')),
      get(`${widgets}?${ofCase}`, {
        code: 200,
        body: { kind: 'WidgetList', apiVersion: '{group}/v1', items: [{ kind: 'Widget', apiVersion: '{group}/v1' }] },
      }),
    ],
  },
  picks('color=red', 'a', 'b'),
  picks('color==red', 'a', 'b'),
  picks('color!=red', 'c'),
  picks('color=red,size=10', 'b'),
  picks('color in (red, blue)', 'a', 'b', 'c'),
  picks('color notin (red)', 'c'),
  picks('size', 'a', 'b'),
  picks('!size', 'c'),
  picks('size notin (1)', 'b', 'c'),
  picks('size!=1', 'b', 'c'),
  picks('size>1', 'b'),
  picks('size<10', 'a'),
  picks('color in (green)'),
  picks('size='),
  refusesLabels('a==='),
  refusesLabels('a in'),
  refusesLabels('a in (b'),
  refusesLabels('a=b=c'),
  refusesLabels('=b'),
  refusesLabels('a b'),
  refusesLabels('-a=b'),
  refusesLabels('a=b c'),
  refusesLabels('a>b'),
  {
    it: 'field selectors pick by name, and by any other name',
    source: fields,
    steps: [
      ...three,
      get(`${configMaps}?${ofCase}&fieldSelector=metadata.name%3D{n}-b`, { code: 200, body: { items: named('b') } }),
      get(`${configMaps}?${ofCase}&fieldSelector=metadata.name!%3D{n}-b`, {
        code: 200,
        body: { items: named('a', 'c') },
      }),
      get(`${configMaps}?${ofCase}&fieldSelector=metadata.name%3D%3D{n}-b`, { code: 200, body: { items: named('b') } }),
    ],
  },
  {
    it: 'terms of a field selector must all hold',
    source: `${fields}#chained-selectors`,
    steps: [
      ...three,
      get(`${configMaps}?${ofCase}&fieldSelector=metadata.name!%3D{n}-a,metadata.name!%3D{n}-b`, {
        code: 200,
        body: { items: named('c') },
      }),
    ],
  },
  {
    it: 'refuses a field selector of a field that the kind does not offer with 400',
    source: `${fields}#supported-fields`,
    steps: [get(`${configMaps}?fieldSelector=data.a%3D1`, bad), get(`${configMaps}?fieldSelector=spec.x%3D1`, bad)],
  },
  {
    it: 'refuses a field selector that cannot be read with 400',
    source: fields,
    steps: [get(`${configMaps}?fieldSelector=metadata.name`, bad)],
  },
  {
    it: 'refuses a field of a custom resource that its definition does not make selectable with 400',
    source: `${fields}#custom-resources-fields`,
    needs: 'widgets',
    steps: [get(`${widgets}?fieldSelector=spec.color%3Dred`, bad), get(`${widgets}?fieldSelector=metadata.name%3Dx`)],
  },
  {
    it: 'Secrets are selected by type',
    source: `${fields}#list-of-supported-fields`,
    steps: [
      post(secrets, secret('{n}-a', { type: 'example.com/a' })),
      post(secrets, secret('{n}-b', { type: 'example.com/b' })),
      get(`${secrets}?${ofCase}&fieldSelector=type%3Dexample.com/b`, { code: 200, body: { items: named('b') } }),
    ],
  },
  {
    it: 'Events are selected by what they are about, and why',
    source: `${fields}#list-of-supported-fields`,
    steps: [
      post(events, {
        metadata: { name: '{n}-a' },
        involvedObject: { kind: 'ConfigMap', name: '{n}', namespace: '{ns}' },
        reason: 'Made',
        type: 'Normal',
      }),
      post(events, {
        metadata: { name: '{n}-b' },
        involvedObject: { kind: 'ConfigMap', name: '{n}', namespace: '{ns}' },
        reason: 'Broke',
        type: 'Warning',
      }),
      get(`${events}?fieldSelector=involvedObject.name%3D{n},involvedObject.kind%3DConfigMap,reason%3DBroke`, {
        code: 200,
        body: { items: named('b') },
      }),
      get(`${events}?fieldSelector=involvedObject.name%3D{n},type!%3DWarning`, {
        code: 200,
        body: { items: named('a') },
      }),
    ],
  },
  {
    it: 'Namespaces are selected by their phase',
    source: `${fields}#list-of-supported-fields`,
    steps: [
      get('/api/v1/namespaces?fieldSelector=status.phase%3DActive', {
        code: 200,
        body: { items: including({ metadata: { name: '{ns}' } }) },
      }),
    ],
  },
  {
    it: 'limit cuts a list, and continue goes on with it',
    source: chunks,
    steps: [
      ...three,
      get(
        `${configMaps}?${ofCase}&limit=2`,
        { code: 200, body: { items: named('a', 'b'), metadata: { continue: /./u, resourceVersion: aRevision } } },
        { save: { next: 'metadata.continue', rv: 'metadata.resourceVersion' } },
      ),
      get(`${configMaps}?${ofCase}&limit=2&continue={next}`, {
        code: 200,
        body: { items: named('c'), metadata: { continue: nothing, resourceVersion: '{rv}' } },
      }),
    ],
  },
  {
    it: 'all pages of a list are of the version of its first',
    source: chunks,
    steps: [
      ...three,
      get(
        `${configMaps}?${ofCase}&limit=1`,
        { code: 200, body: { items: named('a') } },
        { save: { next: 'metadata.continue' } },
      ),
      post(configMaps, configMap('{n}-d')),
      put(`${configMaps}/{n}-b`, configMap('{n}-b', { changed: 'yes' })),
      get(`${configMaps}?${ofCase}&continue={next}`, {
        code: 200,
        body: { items: [{ metadata: { name: '{n}-b' }, data: { changed: nothing } }, { metadata: { name: '{n}-c' } }] },
      }),
    ],
  },
  {
    it: 'an unselected list that is cut tells how much remains',
    source: chunks,
    steps: [
      ...three,
      get(`${configMaps}?limit=1`, { code: 200, body: { items: aList, metadata: { remainingItemCount: aNumber } } }),
    ],
  },
  {
    it: 'a selected list that is cut does not tell how much remains',
    source: docs.page('reference/kubernetes-api/common-definitions/list-meta/'),
    steps: [
      ...three,
      get(`${configMaps}?${ofCase}&limit=1`, { code: 200, body: { metadata: { remainingItemCount: nothing } } }),
    ],
  },
  {
    it: 'a limit that is large enough cuts nothing',
    source: chunks,
    steps: [
      ...three,
      get(`${configMaps}?${ofCase}&limit=5000`, {
        code: 200,
        body: { items: named('a', 'b', 'c'), metadata: { continue: nothing } },
      }),
    ],
  },
  { it: 'refuses a limit that is no number with 400', source: chunks, steps: [get(`${configMaps}?limit=many`, bad)] },
  {
    it: 'refuses a continue token that it did not make with 400',
    source: chunks,
    steps: [get(`${configMaps}?limit=1&continue=nonsense`, bad)],
  },
  {
    it: 'lists what is at least as new as a version (NotOlderThan)',
    source: versions,
    steps: [
      ...three,
      get(`${configMaps}?${ofCase}&resourceVersion={rv}&resourceVersionMatch=NotOlderThan`, {
        code: 200,
        body: { items: including(...named('a', 'b', 'c')) },
      }),
      get(`${configMaps}?${ofCase}&resourceVersion={rv}`, {
        code: 200,
        body: { items: including(...named('a', 'b', 'c')) },
      }),
    ],
  },
  {
    it: 'lists what there was at a version (Exact)',
    source: versions,
    steps: [
      ...three,
      post(configMaps, configMap('{n}-d')),
      put(`${configMaps}/{n}-a`, configMap('{n}-a', { changed: 'yes' })),
      get(`${configMaps}?${ofCase}&resourceVersion={rv}&resourceVersionMatch=Exact`, {
        code: 200,
        body: {
          metadata: { resourceVersion: '{rv}' },
          items: [{ metadata: { name: '{n}-a' }, data: { changed: nothing } }, ...named('b', 'c')],
        },
      }),
    ],
  },
  {
    it: 'lists with resourceVersion=0 whatever version it has at hand',
    source: versions,
    steps: [
      get(`${configMaps}?resourceVersion=0`, {
        code: 200,
        body: { items: aList, metadata: { resourceVersion: aRevision } },
      }),
    ],
  },
  {
    it: 'answers for a version that it has not reached with 504, and says so in a cause',
    source: docs.concepts('unavailable-resource-versions'),
    steps: [
      get(`${configMaps}?resourceVersion=999999999999&resourceVersionMatch=NotOlderThan`, {
        code: 504,
        reason: 'Timeout',
        body: { details: { causes: including({ reason: 'ResourceVersionTooLarge' }), retryAfterSeconds: aNumber } },
      }),
    ],
  },
  {
    it: 'refuses resourceVersionMatch without resourceVersion with 422',
    source: rules,
    steps: [
      get(`${configMaps}?resourceVersionMatch=Exact`, {
        ...invalid,
        causes: [['resourceVersionMatch', 'FieldValueForbidden']],
      }),
    ],
  },
  {
    it: 'refuses the exact version 0 with 422',
    source: rules,
    steps: [
      get(`${configMaps}?resourceVersion=0&resourceVersionMatch=Exact`, {
        ...invalid,
        causes: [['resourceVersionMatch', 'FieldValueForbidden']],
      }),
    ],
  },
  {
    it: 'refuses a resourceVersionMatch that it does not know with 422',
    source: rules,
    steps: [
      get(`${configMaps}?resourceVersion={rv}&resourceVersionMatch=Newest`.replace('{rv}', '1'), {
        ...invalid,
        causes: [['resourceVersionMatch', 'FieldValueNotSupported']],
      }),
    ],
  },
  {
    it: 'refuses resourceVersionMatch together with continue with 422',
    source: rules,
    steps: [
      ...three,
      get(`${configMaps}?${ofCase}&limit=1`, 200, { save: { next: 'metadata.continue' } }),
      get(`${configMaps}?${ofCase}&limit=1&continue={next}&resourceVersion=1&resourceVersionMatch=Exact`, invalid),
    ],
  },
  {
    it: 'refuses sendInitialEvents for a list with 422',
    source: rules,
    since: 27,
    steps: [
      get(`${configMaps}?sendInitialEvents=true`, {
        ...invalid,
        causes: [['sendInitialEvents', 'FieldValueForbidden']],
      }),
    ],
  },
  {
    it: 'does not list what another namespace has',
    source: docs.concepts('resource-uris'),
    steps: [
      ...three,
      get('/api/v1/namespaces/default/configmaps', {
        code: 200,
        body: { items: excluding({ metadata: { name: '{n}-a' } }) },
      }),
    ],
  },
];
