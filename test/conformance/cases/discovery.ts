/** Discovery, OpenAPI, version and health. */
import { type Case, call, docs, get } from '../case.ts';
import { aList, anObject, including } from '../expect.ts';

const aggregated = (version: string) =>
  `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList,application/json`;
const discovery = docs.concepts('api-discovery');
const health = docs.page('reference/using-api/health-checks/');
const openApi = docs.concepts('openapi-interface-definition');

const verbs = including('create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch');

export const discoveryCases: readonly Case[] = [
  {
    it: 'GET /api names the versions of the core group',
    source: discovery,
    steps: [
      get('/api', {
        code: 200,
        body: { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: aList },
        headers: { 'content-type': /^application\/json/u },
      }),
    ],
  },
  {
    it: 'GET /apis names the other groups',
    source: discovery,
    steps: [get('/apis', { code: 200, body: { kind: 'APIGroupList', apiVersion: 'v1', groups: aList } })],
  },
  {
    it: 'GET /api/v1 describes the resources of the core group, with their verbs and short names',
    source: discovery,
    steps: [
      get('/api/v1', {
        code: 200,
        body: {
          kind: 'APIResourceList',
          groupVersion: 'v1',
          resources: including(
            { name: 'configmaps', namespaced: true, kind: 'ConfigMap', shortNames: ['cm'], verbs },
            { name: 'secrets', namespaced: true, kind: 'Secret', verbs },
            { name: 'events', namespaced: true, kind: 'Event', shortNames: ['ev'], verbs },
          ),
        },
      }),
    ],
  },
  {
    it: 'namespaces are cluster-wide, have a status and a finalize subresource, and no deletecollection',
    source: docs.page('reference/kubernetes-api/cluster-resources/namespace-v1/'),
    steps: [
      get('/api/v1', {
        code: 200,
        body: {
          resources: including(
            {
              name: 'namespaces',
              namespaced: false,
              shortNames: ['ns'],
              verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
            },
            { name: 'namespaces/status', kind: 'Namespace', verbs: ['get', 'patch', 'update'] },
            { name: 'namespaces/finalize', kind: 'Namespace', verbs: ['update'] },
          ),
        },
      }),
    ],
  },
  {
    it: 'GET /apis/GROUP names the versions of a group and the preferred one',
    source: discovery,
    needs: 'widgets',
    steps: [
      get('/apis/{group}', {
        code: 200,
        body: {
          kind: 'APIGroup',
          apiVersion: 'v1',
          name: '{group}',
          versions: [{ groupVersion: '{group}/v1', version: 'v1' }],
          preferredVersion: { groupVersion: '{group}/v1', version: 'v1' },
        },
      }),
    ],
  },
  {
    it: 'GET /apis/GROUP/VERSION describes its resources and their subresources',
    source: discovery,
    needs: 'widgets',
    steps: [
      get('/apis/{group}/v1', {
        code: 200,
        body: {
          kind: 'APIResourceList',
          groupVersion: '{group}/v1',
          resources: including(
            {
              name: 'widgets',
              singularName: 'widget',
              namespaced: true,
              kind: 'Widget',
              verbs,
              shortNames: ['wdg'],
              storageVersionHash: /./u,
            },
            { name: 'widgets/status', kind: 'Widget', verbs: including('get', 'patch', 'update') },
          ),
        },
      }),
    ],
  },
  {
    it: 'a group that is not there is not found',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/endpoints/discovery/root.go'),
    steps: [get('/apis/nosuch.example.com', 404), get('/apis/nosuch.example.com/v1', 404)],
  },
  {
    it: 'a version that a group does not have is not found',
    source: docs.source('staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_discovery.go'),
    needs: 'widgets',
    steps: [get('/apis/{group}/v9', 404), get('/apis/{group}/v9/namespaces/{ns}/widgets', 404)],
  },
  { it: 'the core group has no version v2', source: discovery, steps: [get('/api/v2', 404)] },
  {
    it: 'GET /apis can answer with all groups and resources at once (v2)',
    source: docs.concepts('aggregated-discovery'),
    since: 30,
    steps: [
      get(
        '/apis',
        {
          code: 200,
          body: { kind: 'APIGroupDiscoveryList', apiVersion: 'apidiscovery.k8s.io/v2', items: aList },
          headers: {
            'content-type': /^application\/json;\s*g=apidiscovery\.k8s\.io;\s*v=v2;\s*as=APIGroupDiscoveryList$/u,
            vary: /Accept/u,
          },
        },
        { headers: { accept: aggregated('v2') } },
      ),
    ],
  },
  {
    it: 'GET /api can answer with the core resources, their kinds, scopes and subresources at once',
    source: docs.concepts('aggregated-discovery'),
    since: 30,
    steps: [
      get(
        '/api',
        {
          code: 200,
          body: {
            kind: 'APIGroupDiscoveryList',
            items: [
              {
                versions: [
                  {
                    version: 'v1',
                    freshness: 'Current',
                    resources: including(
                      {
                        resource: 'configmaps',
                        responseKind: { kind: 'ConfigMap', version: 'v1' },
                        scope: 'Namespaced',
                        singularResource: 'configmap',
                        verbs,
                        shortNames: ['cm'],
                      },
                      {
                        resource: 'namespaces',
                        scope: 'Cluster',
                        subresources: including({ subresource: 'status', verbs: including('get') }),
                      },
                    ),
                  },
                ],
              },
            ],
          },
        },
        { headers: { accept: aggregated('v2') } },
      ),
    ],
  },
  {
    it: 'aggregated discovery names a custom resource once it is served',
    source: docs.concepts('aggregated-discovery'),
    since: 30,
    needs: 'widgets',
    steps: [
      get(
        '/apis',
        {
          code: 200,
          body: {
            items: including({
              metadata: { name: '{group}' },
              versions: [{ version: 'v1', resources: [{ resource: 'widgets', scope: 'Namespaced' }] }],
            }),
          },
        },
        { headers: { accept: aggregated('v2') }, eventually: true },
      ),
    ],
  },
  {
    it: 'aggregated discovery is answered with 304 to who has it already',
    source: docs.concepts('aggregated-discovery'),
    since: 30,
    steps: [
      get(
        '/api',
        { code: 200, headers: { etag: /^".+"$/u } },
        {
          headers: { accept: aggregated('v2') },
          save: { tag: 'header etag' },
        },
      ),
      get('/api', { code: 304, text: /^$/u }, { headers: { accept: aggregated('v2'), 'if-none-match': '{tag}' } }),
    ],
  },
  {
    it: 'who asks for aggregated discovery in a version that nobody knows gets the plain one',
    source: docs.concepts('aggregated-discovery'),
    steps: [get('/apis', { code: 200, body: { kind: 'APIGroupList' } }, { headers: { accept: aggregated('v99') } })],
  },
  {
    it: 'GET /openapi/v2 gives the schemas, with the kinds that they are of',
    source: docs.concepts('openapi-v2'),
    steps: [
      get('/openapi/v2', {
        code: 200,
        body: {
          swagger: '2.0',
          paths: { '/api/v1/namespaces/{namespace}/configmaps': anObject },
          definitions: {
            'io.k8s.api.core.v1.ConfigMap': {
              type: 'object',
              properties: { data: { type: 'object', additionalProperties: { type: 'string' } } },
              'x-kubernetes-group-version-kind': including({ group: '', kind: 'ConfigMap', version: 'v1' }),
            },
            'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta': anObject,
          },
        },
      }),
    ],
  },
  {
    it: 'GET /openapi/v2 is answered with 304 to who has it already',
    source: openApi,
    steps: [
      get('/openapi/v2', { code: 200, headers: { etag: /./u } }, { save: { tag: 'header etag' } }),
      get('/openapi/v2', { code: [200, 304] }, { headers: { 'if-none-match': '{tag}' } }),
    ],
  },
  {
    it: 'GET /openapi/v2 can answer in protobuf',
    source: docs.concepts('openapi-v2'),
    steps: [
      get('/openapi/v2', 200, {
        headers: { accept: 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf' },
      }),
    ],
  },
  {
    it: 'GET /openapi/v2 refuses a form that it does not have',
    source: docs.concepts('openapi-v2'),
    steps: [get('/openapi/v2', 406, { headers: { accept: 'text/html' } })],
  },
  {
    it: 'GET /openapi/v3 names a document for each group and version',
    source: docs.concepts('openapi-v3'),
    since: 24,
    steps: [
      get('/openapi/v3', {
        code: 200,
        body: { paths: { 'api/v1': { serverRelativeURL: /^\/openapi\/v3\/api\/v1\?hash=/u } } },
      }),
    ],
  },
  {
    it: 'a document of /openapi/v3 has the schemas of its group and version',
    source: docs.concepts('openapi-v3'),
    since: 24,
    steps: [
      get('/openapi/v3/api/v1', {
        code: 200,
        body: {
          openapi: /^3\./u,
          paths: { '/api/v1/namespaces/{namespace}/configmaps/{name}': anObject },
          components: { schemas: { 'io.k8s.api.core.v1.ConfigMap': anObject } },
        },
      }),
    ],
  },
  {
    it: 'a custom resource has its document of /openapi/v3',
    source: docs.concepts('openapi-v3'),
    since: 24,
    needs: 'widgets',
    steps: [
      get(
        '/openapi/v3/apis/{group}/v1',
        { code: 200, body: { components: { schemas: anObject } }, text: /How large it is\./u },
        { eventually: true },
      ),
    ],
  },
  {
    it: 'GET /version tells which Kubernetes it speaks',
    source: docs.page('reference/kubernetes-api/'),
    steps: [get('/version', { code: 200, body: { major: '1', minor: /^\d+/u, gitVersion: /^v1\./u } })],
  },
  ...['/healthz', '/livez', '/readyz'].map(
    (path): Case => ({
      it: `GET ${path} says ok`,
      source: health,
      steps: [get(path, { code: 200, text: /^ok$/u, headers: { 'content-type': /^text\/plain/u } })],
    }),
  ),
  {
    it: 'GET / names the paths that there are',
    source: docs.page('concepts/overview/kubernetes-api/'),
    steps: [
      get('/', { code: 200, body: { paths: including('/api', '/apis', '/healthz', '/version', '/openapi/v2') } }),
    ],
  },
  {
    it: 'discovery takes no other method than GET',
    source: discovery,
    steps: [call('POST', '/api/v1', 405, { body: {} })],
  },
];
