/** Paths and methods that there are not, who may ask, and the shape of errors. */
import { type Case, call, configMap, configMaps, docs, get, post } from '../case.ts';
import { aList, anObject } from '../expect.ts';

const uris = docs.concepts('resource-uris');
const codes = docs.conventions('http-status-codes');
const shape = docs.conventions('response-status-kind');
const authentication = docs.page('reference/access-authn-authz/authentication/');
const one = `${configMaps}/{n}`;
const make = post(configMaps, configMap('{n}'));
const notAllowed = { code: 405, reason: 'MethodNotAllowed' } as const;
const notFound = { code: 404, reason: 'NotFound' } as const;
const noToken = { 'x-anonymous': 'yes' };

const refusesMethod = (method: string, path: string, what: string): Case => ({
  it: `${method} on ${what} is not allowed`,
  source: codes,
  steps: [call(method, path, notAllowed, method === 'DELETE' || method === 'OPTIONS' ? {} : { body: {} })],
});

export const pathCases: readonly Case[] = [
  {
    it: 'a resource that is not there is not found',
    source: uris,
    steps: [get('/api/v1/namespaces/{ns}/gadgets', notFound)],
  },
  {
    it: 'a cluster-wide resource that is not there is not found',
    source: uris,
    steps: [get('/api/v1/gadgets', notFound)],
  },
  { it: 'a subresource that is not there is not found', source: uris, steps: [make, get(`${one}/color`, notFound)] },
  { it: 'a ConfigMap has no status subresource', source: uris, steps: [make, get(`${one}/status`, notFound)] },
  {
    it: 'a path that nobody serves is not found',
    source: uris,
    steps: [get('/nosuch', 404), get('/api/v1/namespaces/{ns}/configmaps/a/b/c/d', 404)],
  },
  {
    it: 'a name is case-sensitive, and so is a resource',
    source: uris,
    steps: [make, get('/api/v1/namespaces/{ns}/ConfigMaps', notFound)],
  },
  refusesMethod('PUT', configMaps, 'a collection'),
  refusesMethod('PATCH', configMaps, 'a collection'),
  refusesMethod('POST', `${configMaps}/x`, 'an object'),
  refusesMethod('POST', '/api/v1/configmaps', 'a collection of all namespaces'),
  refusesMethod('DELETE', '/api/v1/configmaps', 'a collection of all namespaces'),
  refusesMethod('OPTIONS', configMaps, 'a collection'),
  {
    it: 'an unknown name in the path is refused before the body is looked at',
    source: codes,
    steps: [call('PUT', one, notFound, { body: configMap('{n}') })],
  },
  {
    it: 'percent-encoding in a path is read',
    source: 'https://www.rfc-editor.org/rfc/rfc3986#section-2.1',
    steps: [
      make,
      get('/api/v1/namespaces/%7Bns%7D/configmaps'.replace('%7Bns%7D', '{ns}')),
      get(`${configMaps}/%63absent`, notFound),
    ],
  },
  {
    it: 'an error is a Status with code, reason, message and details',
    source: shape,
    steps: [
      get(one, {
        code: 404,
        reason: 'NotFound',
        body: { kind: 'Status', apiVersion: 'v1', metadata: anObject, status: 'Failure', code: 404, details: anObject },
        headers: { 'content-type': /^application\/json/u },
      }),
    ],
  },
  {
    it: 'an invalid object is told by causes, each with its field, reason and message',
    source: shape,
    steps: [
      post(configMaps, configMap('Bad_Name'), {
        code: 422,
        reason: 'Invalid',
        message: /^ConfigMap "Bad_Name" is invalid: metadata\.name: Invalid value: "Bad_Name": /u,
        body: {
          details: {
            name: 'Bad_Name',
            kind: 'ConfigMap',
            causes: [{ reason: 'FieldValueInvalid', message: /^Invalid value: "Bad_Name": /u, field: 'metadata.name' }],
          },
        },
      }),
    ],
  },
  {
    it: 'several mistakes stand in one message, in brackets',
    source: shape,
    steps: [
      post(configMaps, configMap('Bad_Name', { 'a b': '' }), {
        code: 422,
        reason: 'Invalid',
        message: /^ConfigMap "Bad_Name" is invalid: \[.*, .*\]$/su,
        body: { details: { causes: aList } },
      }),
    ],
  },
  {
    it: 'a Status comes in YAML to who asks for that',
    source: docs.concepts('alternate-representations-of-resources'),
    steps: [
      get(
        one,
        { code: 404, text: /^reason: NotFound$/mu, headers: { 'content-type': /yaml/u } },
        {
          headers: { accept: 'application/yaml' },
        },
      ),
    ],
  },
  {
    it: 'a token that nobody gave out is refused with 401',
    source: authentication,
    steps: [
      get(
        configMaps,
        { code: 401, reason: 'Unauthorized' },
        { headers: { ...noToken, authorization: 'Bearer nonsense' } },
      ),
    ],
  },
  {
    it: 'who does not say who he is may not read',
    source: `${authentication}#anonymous-requests`,
    steps: [
      get(configMaps, { code: [401, 403] }, { headers: noToken }),
      get('/api/v1/namespaces/{ns}/secrets', { code: [401, 403] }, { headers: noToken }),
    ],
  },
  {
    it: 'who does not say who he is may not write',
    source: `${authentication}#anonymous-requests`,
    steps: [post(configMaps, configMap('{n}'), { code: [401, 403] }, { headers: noToken }), get(one, 404)],
  },
  {
    it: 'answers are not to be cached by others',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/endpoints/filters/cachecontrol.go'),
    steps: [make, get(one, { code: 200, headers: { 'cache-control': /no-cache.*private/u } })],
  },
];
