/** Namespaces: what they are made with, and how they end. */
import { type Case, call, configMap, configMaps, del, docs, get, patch, post, put } from '../case.ts';
import { aTime } from '../expect.ts';

const pages = docs.page('concepts/overview/working-with-objects/namespaces/');
const lifecycle = docs.page('reference/access-authn-authz/admission-controllers/#namespacelifecycle');
const api = docs.page('reference/kubernetes-api/cluster-resources/namespace-v1/');
const all = '/api/v1/namespaces';
const one = `${all}/{n}-{run}`;
const make = post(all, { metadata: { name: '{n}-{run}' } });
const remove = del(one);
/** Something in it that stays until it is let go, so that the namespace stays while it is looked at. */
const held = post(`${one}/configmaps`, configMap('held', {}, { finalizers: ['example.com/hold'] }));
const release = patch('merge', `${one}/configmaps/held`, { metadata: { finalizers: null } });

export const namespaceCases: readonly Case[] = [
  {
    it: 'makes a namespace that is active, with its finalizer',
    source: api,
    steps: [
      post(
        all,
        { metadata: { name: '{n}-{run}' } },
        {
          code: 201,
          body: {
            kind: 'Namespace',
            metadata: { name: '{n}-{run}', namespace: undefined },
            spec: { finalizers: ['kubernetes'] },
            status: { phase: 'Active' },
          },
        },
      ),
      remove,
    ],
  },
  {
    it: 'labels a namespace with its name, and keeps that label',
    source: `${pages}#automatic-labelling`,
    since: 21,
    steps: [
      make,
      get(one, { code: 200, body: { metadata: { labels: { 'kubernetes.io/metadata.name': '{n}-{run}' } } } }),
      patch(
        'merge',
        one,
        { metadata: { labels: { 'kubernetes.io/metadata.name': null } } },
        {
          code: 200,
          body: { metadata: { labels: { 'kubernetes.io/metadata.name': '{n}-{run}' } } },
        },
      ),
      remove,
    ],
  },
  ...['Upper', 'with.dot', '-a', 'a'.repeat(64)].map(
    (name): Case => ({
      it: `refuses the namespace ${name.length > 20 ? 'of 64 characters' : name}`,
      source: docs.page('concepts/overview/working-with-objects/names/#dns-label-names'),
      steps: [
        post(
          all,
          { metadata: { name } },
          { code: 422, reason: 'Invalid', causes: [['metadata.name', 'FieldValueInvalid']] },
        ),
      ],
    }),
  ),
  {
    it: 'refuses a namespace that is there already with 409',
    source: docs.conventions('http-status-codes'),
    steps: [post(all, { metadata: { name: 'default' } }, { code: 409, reason: 'AlreadyExists' })],
  },
  {
    it: 'has the namespaces default and kube-system',
    source: `${pages}#initial-namespaces`,
    steps: [get(`${all}/default`, { code: 200, body: { status: { phase: 'Active' } } }), get(`${all}/kube-system`)],
  },
  {
    it: 'does not delete the namespaces default and kube-system',
    source: lifecycle,
    steps: [
      del(`${all}/default?dryRun=All`, { code: 403, reason: 'Forbidden' }),
      del(`${all}/kube-system?dryRun=All`, { code: 403, reason: 'Forbidden' }),
    ],
  },
  {
    it: 'changes labels of a namespace, and neither its spec nor its status with them',
    source: api,
    steps: [
      make,
      patch(
        'merge',
        one,
        { metadata: { labels: { x: 'y' } }, status: { phase: 'Odd' } },
        {
          code: 200,
          body: { metadata: { labels: { x: 'y' } }, spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } },
        },
      ),
      put(
        one,
        { metadata: { name: '{n}-{run}' }, spec: { finalizers: [] } },
        {
          code: 200,
          body: { spec: { finalizers: ['kubernetes'] } },
        },
      ),
      remove,
    ],
  },
  {
    it: 'a namespace that is deleted is Terminating, and is answered with',
    source: lifecycle,
    steps: [
      make,
      held,
      del(one, {
        code: 200,
        body: { kind: 'Namespace', metadata: { deletionTimestamp: aTime }, status: { phase: 'Terminating' } },
      }),
      get(one, { code: 200, body: { status: { phase: 'Terminating' } } }),
      release,
    ],
  },
  {
    it: 'nothing new can be made in a namespace that is being terminated',
    source: lifecycle,
    steps: [
      make,
      held,
      remove,
      post(
        `${one}/configmaps`,
        configMap('new'),
        {
          code: 403,
          reason: 'Forbidden',
          message: /because it is being terminated/u,
          causes: [['metadata.namespace', 'NamespaceTerminating']],
        },
        { eventually: true },
      ),
      release,
    ],
  },
  {
    it: 'what is in a namespace that is being terminated can be changed and released',
    source: docs.page('concepts/overview/working-with-objects/finalizers/'),
    steps: [
      make,
      held,
      remove,
      patch('merge', `${one}/configmaps/held`, { data: { a: '2' } }, { code: 200, body: { data: { a: '2' } } }),
      release,
    ],
  },
  {
    it: 'a terminating namespace ends when its last finalizer is taken out by its finalize subresource',
    source: api,
    steps: [
      make,
      held,
      remove,
      release,
      // Whoever empties namespaces may be quicker.
      put(`${one}/finalize`, { metadata: { name: '{n}-{run}' }, spec: { finalizers: [] } }, { code: [200, 404, 409] }),
      get(one, 404, { eventually: true }),
    ],
  },
  {
    it: 'finalize changes only the finalizers of an active namespace',
    source: api,
    steps: [
      make,
      put(
        `${one}/finalize`,
        {
          metadata: { name: '{n}-{run}', labels: { x: 'y' } },
          spec: { finalizers: ['kubernetes', 'example.com/more'] },
        },
        { code: 200, body: { spec: { finalizers: ['kubernetes', 'example.com/more'] } } },
      ),
      put(`${one}/finalize`, { metadata: { name: '{n}-{run}' }, spec: { finalizers: ['kubernetes'] } }),
      remove,
    ],
  },
  {
    it: 'changes the status of a namespace by its status subresource alone',
    source: api,
    steps: [
      make,
      patch(
        'merge',
        `${one}/status`,
        { status: { conditions: [{ type: 'Odd', status: 'True' }] } },
        {
          code: 200,
          body: { status: { phase: 'Active', conditions: [{ type: 'Odd', status: 'True' }] } },
        },
      ),
      remove,
    ],
  },
  {
    it: 'a namespace has no namespace of its own in its path',
    source: docs.concepts('resource-uris'),
    steps: [get('/api/v1/namespaces/default/namespaces/default', 404)],
  },
  {
    it: 'namespaces are not deleted as a collection',
    source: api,
    steps: [call('DELETE', `${all}?labelSelector=no%3Dsuch&dryRun=All`, { code: 405, reason: 'MethodNotAllowed' })],
  },
  {
    it: 'the same name can be used again in another namespace',
    source: pages,
    steps: [
      make,
      post(configMaps, configMap('{n}')),
      post(`${one}/configmaps`, configMap('{n}', { b: '2' })),
      get(`${configMaps}/{n}`, { code: 200, body: { data: { a: '1', b: undefined } } }),
      del(`${one}/configmaps/{n}`),
      remove,
    ],
  },
];
