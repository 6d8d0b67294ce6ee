/** JSON, merge and strategic merge patches. */
import { type Case, call, configMap, configMaps, docs, get, patch, post, widget, widgets } from '../case.ts';

const jsonPatch = 'https://www.rfc-editor.org/rfc/rfc6902';
const mergePatch = 'https://www.rfc-editor.org/rfc/rfc7386';
const patching = docs.page('tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/');
const handler = docs.source('staging/src/k8s.io/apiserver/pkg/endpoints/handlers/patch.go');
const strategic =
  'https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md';
const one = `${configMaps}/{n}`;
const make = post(configMaps, configMap('{n}', { a: '1', b: '2' }), 201, { save: { rv: 'metadata.resourceVersion' } });
const unchanged = get(one, { code: 200, body: { metadata: { resourceVersion: '{rv}' } } });
const refused = { code: 422, reason: 'Invalid' } as const;
const bad = { code: 400, reason: 'BadRequest' } as const;
/** Older servers take it for a fault of their own. */
const badOrWorse = { code: [400, 500] } as const;

/** A JSON Patch that cannot be applied, and changes nothing. */
const fails = (what: string, operations: Parameters<typeof patch>[2]): Case => ({
  it: `refuses a JSON Patch that ${what} with 422`,
  source: `${jsonPatch}#section-4`,
  steps: [make, patch('json', one, operations, refused), unchanged],
});

export const patchCases: readonly Case[] = [
  {
    it: 'JSON Patch: add, replace, remove',
    source: `${jsonPatch}#section-4`,
    steps: [
      make,
      patch(
        'json',
        one,
        [
          { op: 'add', path: '/data/c', value: '3' },
          { op: 'replace', path: '/data/a', value: '9' },
          { op: 'remove', path: '/data/b' },
        ],
        { code: 200, body: { data: { a: '9', b: undefined, c: '3' } } },
      ),
      get(one, { code: 200, body: { data: { a: '9', b: undefined, c: '3' } } }),
    ],
  },
  {
    it: 'JSON Patch: move and copy',
    source: `${jsonPatch}#section-4.4`,
    steps: [
      make,
      patch(
        'json',
        one,
        [
          { op: 'move', from: '/data/a', path: '/data/moved' },
          { op: 'copy', from: '/data/b', path: '/data/copied' },
        ],
        { code: 200, body: { data: { a: undefined, moved: '1', b: '2', copied: '2' } } },
      ),
    ],
  },
  {
    it: 'JSON Patch: a test that holds lets the rest through',
    source: `${jsonPatch}#section-4.6`,
    steps: [
      make,
      patch(
        'json',
        one,
        [
          { op: 'test', path: '/data/a', value: '1' },
          { op: 'replace', path: '/data/a', value: '5' },
        ],
        {
          code: 200,
          body: { data: { a: '5' } },
        },
      ),
    ],
  },
  {
    it: 'JSON Patch: ~1 and ~0 in a path stand for / and ~',
    source: 'https://www.rfc-editor.org/rfc/rfc6901#section-4',
    steps: [
      make,
      patch('json', one, [{ op: 'add', path: '/metadata/labels/example.com~1x', value: 'y' }], {
        code: 200,
        body: { metadata: { labels: { 'example.com/x': 'y' } } },
      }),
    ],
  },
  {
    it: 'JSON Patch: - is the end of a list',
    source: 'https://www.rfc-editor.org/rfc/rfc6901#section-4',
    steps: [
      post(configMaps, configMap('{n}', {}, { finalizers: ['example.com/a'] })),
      patch('json', one, [{ op: 'add', path: '/metadata/finalizers/-', value: 'example.com/b' }], {
        code: 200,
        body: { metadata: { finalizers: ['example.com/a', 'example.com/b'] } },
      }),
      patch('merge', one, { metadata: { finalizers: null } }),
    ],
  },
  fails('tests a value that is another', [
    { op: 'add', path: '/data/c', value: '3' },
    { op: 'test', path: '/data/a', value: 'x' },
  ]),
  fails('tests a path that is not there', [{ op: 'test', path: '/data/absent', value: 'x' }]),
  fails('removes a path that is not there', [{ op: 'remove', path: '/data/absent' }]),
  {
    it: 'JSON Patch: replace of a key that is not there adds it, as the library of kube-apiserver has it',
    source: 'https://github.com/evanphx/json-patch/blob/v4.12.0/patch.go',
    steps: [
      make,
      patch('json', one, [{ op: 'replace', path: '/data/absent', value: 'x' }], {
        code: 200,
        body: { data: { absent: 'x', a: '1' } },
      }),
    ],
  },
  fails('moves from a path that is not there', [{ op: 'move', from: '/data/absent', path: '/data/x' }]),
  fails('adds below a path that is not there', [{ op: 'add', path: '/data/absent/x', value: 'x' }]),
  fails('adds beyond the end of a list', [
    { op: 'add', path: '/metadata/finalizers', value: ['example.com/a'] },
    { op: 'add', path: '/metadata/finalizers/5', value: 'example.com/b' },
  ]),
  fails('has an operation that is not known', [{ op: 'frobnicate', path: '/data/a', value: 'x' }]),
  {
    it: 'refuses a JSON Patch that is no list with 400',
    source: handler,
    steps: [make, patch('json', one, { op: 'remove', path: '/data/a' }, bad), unchanged],
  },
  {
    it: 'refuses a patch that is no JSON',
    source: handler,
    steps: [
      make,
      patch('json', one, '[{', bad),
      patch('merge', one, '{', badOrWorse),
      patch('strategic', one, '{', badOrWorse),
      unchanged,
    ],
  },
  {
    it: 'refuses a merge patch that is no object',
    source: handler,
    steps: [make, patch('merge', one, [], { code: [400, 422] }), unchanged],
  },
  {
    it: 'merge patch: sets, adds and, with null, removes',
    source: `${mergePatch}#section-2`,
    steps: [
      make,
      patch(
        'merge',
        one,
        { data: { a: '9', b: null, c: '3' } },
        { code: 200, body: { data: { a: '9', b: undefined, c: '3' } } },
      ),
    ],
  },
  {
    it: 'merge patch: null for what is not there changes nothing',
    source: `${mergePatch}#section-2`,
    steps: [
      make,
      patch('merge', one, { data: { absent: null } }, { code: 200, body: { metadata: { resourceVersion: '{rv}' } } }),
    ],
  },
  {
    it: 'merge patch: a list is replaced whole',
    source: `${mergePatch}#section-1`,
    steps: [
      post(configMaps, configMap('{n}', {}, { finalizers: ['example.com/a'] })),
      patch(
        'merge',
        one,
        { metadata: { finalizers: ['example.com/b'] } },
        {
          code: 200,
          body: { metadata: { finalizers: ['example.com/b'] } },
        },
      ),
      patch(
        'merge',
        one,
        { metadata: { finalizers: null } },
        { code: 200, body: { metadata: { finalizers: undefined } } },
      ),
    ],
  },
  {
    it: 'strategic merge patch: merges maps, and removes with null',
    source: patching,
    steps: [
      make,
      patch(
        'strategic',
        one,
        { data: { a: null, c: '3' } },
        { code: 200, body: { data: { a: undefined, b: '2', c: '3' } } },
      ),
    ],
  },
  {
    it: 'strategic merge patch: $patch replace replaces a map whole',
    source: strategic,
    steps: [
      make,
      patch(
        'strategic',
        one,
        { data: { $patch: 'replace', c: '3' } },
        { code: 200, body: { data: { a: undefined, b: undefined, c: '3' } } },
      ),
    ],
  },
  {
    it: 'strategic merge patch: $patch delete empties a map',
    source: strategic,
    steps: [make, patch('strategic', one, { data: { $patch: 'delete' } }, { code: 200, body: { data: undefined } })],
  },
  {
    it: 'strategic merge patch: finalizers are a set that grows, and shrinks by $deleteFromPrimitiveList',
    source: strategic,
    steps: [
      post(configMaps, configMap('{n}', {}, { finalizers: ['example.com/a'] })),
      patch(
        'strategic',
        one,
        { metadata: { finalizers: ['example.com/b'] } },
        {
          code: 200,
          body: { metadata: { finalizers: ['example.com/b', 'example.com/a'] } },
        },
      ),
      patch(
        'strategic',
        one,
        { metadata: { '$deleteFromPrimitiveList/finalizers': ['example.com/a'] } },
        {
          code: 200,
          body: { metadata: { finalizers: ['example.com/b'] } },
        },
      ),
      patch('merge', one, { metadata: { finalizers: null } }),
    ],
  },
  {
    it: 'strategic merge patch: owners are merged by their uid',
    source: docs.page('reference/kubernetes-api/common-definitions/object-meta/'),
    steps: [
      post(configMaps, configMap('{n}-owner'), 201, { save: { owner: 'metadata.uid' } }),
      post(
        configMaps,
        configMap(
          '{n}',
          {},
          {
            ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: '{n}-owner', uid: '{owner}' }],
          },
        ),
      ),
      patch(
        'strategic',
        one,
        { metadata: { ownerReferences: [{ uid: '{owner}', controller: true }] } },
        {
          code: 200,
          body: { metadata: { ownerReferences: [{ uid: '{owner}', name: '{n}-owner', controller: true }] } },
        },
      ),
    ],
  },
  {
    it: 'has no strategic merge patch for custom resources',
    source: docs.page('tasks/extend-kubernetes/custom-resources/custom-resource-definitions/'),
    needs: 'widgets',
    steps: [
      post(widgets, widget('{n}')),
      patch('strategic', `${widgets}/{n}`, { spec: { size: 2 } }, { code: 415, reason: 'UnsupportedMediaType' }),
    ],
  },
  {
    it: 'refuses a patch without a type, or of one that is not known, with 415',
    source: handler,
    steps: [
      make,
      call(
        'PATCH',
        one,
        { code: 415, reason: 'UnsupportedMediaType' },
        {
          body: { data: {} },
          headers: { 'content-type': 'application/json' },
        },
      ),
      call(
        'PATCH',
        one,
        { code: 415, reason: 'UnsupportedMediaType' },
        {
          body: { data: {} },
          headers: { 'content-type': 'text/plain' },
        },
      ),
      unchanged,
    ],
  },
  {
    it: 'refuses to patch what is not there with 404',
    source: docs.conventions('http-status-codes'),
    steps: [
      patch('merge', one, { data: {} }, { code: 404, reason: 'NotFound' }),
      patch('json', one, [], { code: 404, reason: 'NotFound' }),
    ],
  },
  {
    it: 'refuses a patch of the name with 400',
    source: handler,
    steps: [make, patch('merge', one, { metadata: { name: 'other' } }, bad), unchanged],
  },
  {
    it: 'refuses a patch of the namespace with 400',
    source: handler,
    steps: [make, patch('merge', one, { metadata: { namespace: 'default' } }, bad), unchanged],
  },
  {
    it: 'refuses a patch of the uid with 422',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/registry/rest/update.go'),
    steps: [
      make,
      patch(
        'merge',
        one,
        { metadata: { uid: 'another' } },
        { ...refused, causes: [['metadata.uid', 'FieldValueInvalid']] },
      ),
      unchanged,
    ],
  },
  {
    it: 'patches only the version that the patch names',
    source: docs.conventions('concurrency-control-and-consistency'),
    steps: [
      make,
      patch(
        'merge',
        one,
        { metadata: { resourceVersion: '{rv}' }, data: { a: '5' } },
        { code: 200, body: { data: { a: '5' } } },
      ),
      patch(
        'merge',
        one,
        { metadata: { resourceVersion: '{rv}' }, data: { a: '6' } },
        { code: 409, reason: 'Conflict' },
      ),
      get(one, { code: 200, body: { data: { a: '5' } } }),
    ],
  },
  {
    it: 'checks what a patch makes as on creation',
    source: docs.conventions('http-status-codes'),
    steps: [
      make,
      patch('merge', one, { data: { 'a b': '' } }, { ...refused, causes: [['data[a b]', 'FieldValueInvalid']] }),
      patch(
        'merge',
        one,
        { metadata: { labels: { x: 'y z' } } },
        { ...refused, causes: [['metadata.labels', 'FieldValueInvalid']] },
      ),
      unchanged,
    ],
  },
  {
    it: 'refuses a patch that makes a value of the wrong type in a custom resource with 422',
    source: docs.page('tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation'),
    needs: 'widgets',
    steps: [
      post(widgets, widget('{n}')),
      patch('merge', `${widgets}/{n}`, { spec: { size: 'large' } }, refused),
      patch('json', `${widgets}/{n}`, [{ op: 'remove', path: '/spec/size' }], {
        ...refused,
        causes: [['spec.size', 'FieldValueRequired']],
      }),
    ],
  },
  {
    it: 'a patch that changes nothing writes nothing',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/storage/etcd3/store.go'),
    steps: [
      make,
      patch('merge', one, { data: { a: '1' } }),
      patch('json', one, []),
      patch('strategic', one, {}),
      unchanged,
    ],
  },
  {
    it: 'a patch changes nothing in a dry run',
    source: docs.concepts('dry-run'),
    steps: [
      make,
      patch('merge', `${one}?dryRun=All`, { data: { a: '7' } }, { code: 200, body: { data: { a: '7' } } }),
      unchanged,
    ],
  },
  {
    it: 'refuses force with a patch that applies nothing with 422',
    source: docs.source('staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go'),
    steps: [
      make,
      patch(
        'merge',
        `${one}?force=true`,
        { data: { a: '7' } },
        { ...refused, causes: [['force', 'FieldValueForbidden']] },
      ),
      unchanged,
    ],
  },
];
