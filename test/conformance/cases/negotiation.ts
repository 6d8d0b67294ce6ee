/** Forms of answers and bodies: JSON, YAML, tables, metadata only, and what is refused. */
import {
  type Case,
  configMap,
  configMaps,
  docs,
  get,
  ofCase,
  patch,
  post,
  put,
  watch,
  widget,
  widgets,
} from '../case.ts';
import { aList, nothing } from '../expect.ts';

const alternate = docs.concepts('alternate-representations-of-resources');
const tables = docs.concepts('receiving-resources-as-tables');
const partial = docs.source('staging/src/k8s.io/apiserver/pkg/endpoints/handlers/response.go');
const yaml = { 'content-type': 'application/yaml' };
const as = (kind: string, version = 'v1') => ({ accept: `application/json;as=${kind};g=meta.k8s.io;v=${version}` });
const make = post(configMaps, configMap('{n}'));
const one = `${configMaps}/{n}`;

export const negotiationCases: readonly Case[] = [
  {
    it: 'answers in JSON if nothing else is asked for',
    source: alternate,
    steps: [
      make,
      get(one, { code: 200, body: { kind: 'ConfigMap' }, headers: { 'content-type': /^application\/json$/u } }),
      get(one, { code: 200, body: { kind: 'ConfigMap' } }, { headers: { accept: '*/*' } }),
    ],
  },
  {
    it: 'answers in YAML if asked',
    source: alternate,
    steps: [
      make,
      get(
        one,
        { code: 200, text: /^kind: ConfigMap$/mu, headers: { 'content-type': /^application\/yaml$/u } },
        { headers: { accept: 'application/yaml' } },
      ),
    ],
  },
  {
    it: 'takes the form that the client wants most, by the q values',
    source: alternate,
    steps: [
      make,
      get(
        one,
        { code: 200, headers: { 'content-type': /yaml/u } },
        {
          headers: { accept: 'application/json;q=0.2, application/yaml;q=0.9' },
        },
      ),
      get(
        one,
        { code: 200, headers: { 'content-type': /json/u } },
        {
          headers: { accept: 'application/json;q=0.9, application/yaml;q=0.2' },
        },
      ),
      get(one, { code: 200, headers: { 'content-type': /json/u } }, { headers: { accept: 'text/html, */*;q=0.1' } }),
    ],
  },
  {
    it: 'refuses forms that it does not have with 406',
    source: alternate,
    steps: [
      get(configMaps, { code: 406, reason: 'NotAcceptable' }, { headers: { accept: 'text/html' } }),
      get(configMaps, { code: 406, reason: 'NotAcceptable' }, { headers: { accept: 'application/xml' } }),
    ],
  },
  {
    it: 'refuses to create in a form that it does not read with 415',
    source: alternate,
    steps: [
      post(
        configMaps,
        'a: b',
        { code: 415, reason: 'UnsupportedMediaType' },
        {
          headers: { 'content-type': 'text/plain' },
        },
      ),
      post(
        configMaps,
        'a=b',
        { code: 415, reason: 'UnsupportedMediaType' },
        {
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        },
      ),
      post(
        configMaps,
        '<a/>',
        { code: 415, reason: 'UnsupportedMediaType' },
        {
          headers: { 'content-type': 'application/xml' },
        },
      ),
    ],
  },
  {
    it: 'refuses to update in a form that it does not read with 415',
    source: alternate,
    steps: [
      make,
      put(one, 'a: b', { code: 415, reason: 'UnsupportedMediaType' }, { headers: { 'content-type': 'text/plain' } }),
    ],
  },
  {
    it: 'reads YAML',
    source: alternate,
    steps: [
      post(configMaps, 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: "{n}"\ndata:\n  a: "1"\n', 201, {
        headers: yaml,
      }),
      get(one, { code: 200, body: { data: { a: '1' } } }),
    ],
  },
  {
    it: 'reads JSON that says its charset',
    source: alternate,
    steps: [
      post(configMaps, configMap('{n}'), 201, { headers: { 'content-type': 'application/json; charset=utf-8' } }),
    ],
  },
  {
    it: 'takes the kind and version of a core object from the path if the body leaves them out',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/endpoints/handlers/create.go'),
    steps: [
      post(configMaps, { metadata: { name: '{n}' } }, { code: 201, body: { kind: 'ConfigMap', apiVersion: 'v1' } }),
    ],
  },
  ...[
    ['is cut off', '{"kind":"ConfigMap","metadata":{'],
    ['is no JSON', 'kind: ConfigMap'],
    ['is a list', '[]'],
    ['is a number', '7'],
    ['is text', '"ConfigMap"'],
  ].map(
    ([what = '', body = '']): Case => ({
      it: `refuses a JSON body that ${what} with 400`,
      source: docs.conventions('http-status-codes'),
      steps: [post(configMaps, body, { code: 400, reason: 'BadRequest' })],
    }),
  ),
  {
    it: 'refuses an object of another kind with 400',
    source: docs.conventions('http-status-codes'),
    steps: [
      post(
        configMaps,
        { apiVersion: 'v1', kind: 'Secret', metadata: { name: '{n}' } },
        { code: 400, reason: 'BadRequest' },
      ),
      get(one, 404),
    ],
  },
  {
    it: 'refuses an object of another API version with 400',
    source: docs.conventions('http-status-codes'),
    steps: [
      post(
        configMaps,
        { apiVersion: 'apps/v1', kind: 'ConfigMap', metadata: { name: '{n}' } },
        {
          code: 400,
          reason: 'BadRequest',
        },
      ),
      get(one, 404),
    ],
  },
  {
    it: 'refuses a body that is larger than 3 MiB with 413',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/server/config.go'),
    steps: [
      post(configMaps, configMap('{n}', { a: 'x'.repeat(3 * 1024 * 1024) }), {
        code: 413,
        reason: 'RequestEntityTooLarge',
      }),
      get(one, 404),
    ],
  },
  {
    it: 'answers a list as a table, with columns and the metadata of each object',
    source: tables,
    steps: [
      make,
      get(
        `${configMaps}?${ofCase}`,
        {
          code: 200,
          body: {
            kind: 'Table',
            apiVersion: 'meta.k8s.io/v1',
            columnDefinitions: [
              { name: 'Name', type: 'string', format: 'name', priority: 0 },
              { name: 'Data', type: 'string' },
              { name: 'Age' },
            ],
            rows: [{ cells: aList, object: { kind: 'PartialObjectMetadata', metadata: { name: '{n}' } } }],
          },
        },
        { headers: as('Table') },
      ),
    ],
  },
  {
    it: 'answers one object as a table',
    source: tables,
    steps: [make, get(one, { code: 200, body: { kind: 'Table', rows: [{ cells: aList }] } }, { headers: as('Table') })],
  },
  {
    it: 'still answers tables in v1beta1',
    source: tables,
    steps: [
      make,
      get(
        one,
        { code: 200, body: { kind: 'Table', apiVersion: 'meta.k8s.io/v1beta1' } },
        { headers: as('Table', 'v1beta1') },
      ),
    ],
  },
  {
    it: 'leaves the objects out of a table, or puts them in whole, as includeObject says',
    source: tables,
    steps: [
      make,
      get(`${one}?includeObject=None`, { code: 200, body: { rows: [{ object: nothing }] } }, { headers: as('Table') }),
      get(
        `${one}?includeObject=Object`,
        { code: 200, body: { rows: [{ object: { kind: 'ConfigMap', data: { a: '1' } } }] } },
        { headers: as('Table') },
      ),
    ],
  },
  {
    it: 'refuses an includeObject that it does not know with 400',
    source: docs.source('staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go'),
    steps: [make, get(`${one}?includeObject=Some`, { code: 400, reason: 'BadRequest' }, { headers: as('Table') })],
  },
  {
    it: 'answers a table of a custom resource with the columns that its definition names',
    source: docs.page(
      'tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#additional-printer-columns',
    ),
    needs: 'widgets',
    steps: [
      post(widgets, widget('{n}', { size: 7 })),
      get(
        `${widgets}/{n}`,
        {
          code: 200,
          body: {
            columnDefinitions: [{ name: 'Name' }, { name: 'Size', type: 'integer' }],
            rows: [{ cells: ['{n}', 7] }],
          },
        },
        { headers: as('Table') },
      ),
    ],
  },
  {
    it: 'falls back to JSON for clients that prefer a table but take JSON',
    source: tables,
    steps: [
      make,
      get(
        one,
        { code: 200, body: { kind: 'ConfigMap' } },
        {
          headers: { accept: 'application/json;as=Table;g=meta.k8s.io;v=v99, application/json' },
        },
      ),
    ],
  },
  {
    it: 'answers an object as its metadata only',
    source: partial,
    steps: [
      make,
      get(
        one,
        {
          code: 200,
          body: {
            kind: 'PartialObjectMetadata',
            apiVersion: 'meta.k8s.io/v1',
            metadata: { name: '{n}' },
            data: undefined,
          },
        },
        { headers: as('PartialObjectMetadata') },
      ),
    ],
  },
  {
    it: 'answers a list as metadata only',
    source: partial,
    steps: [
      make,
      get(
        `${configMaps}?${ofCase}`,
        {
          code: 200,
          body: {
            kind: 'PartialObjectMetadataList',
            apiVersion: 'meta.k8s.io/v1',
            items: [{ metadata: { name: '{n}' }, data: undefined }],
          },
        },
        { headers: as('PartialObjectMetadataList') },
      ),
    ],
  },
  {
    it: 'refuses to answer a list as one object of metadata, and one object as a list, with 406',
    source: partial,
    steps: [
      make,
      get(configMaps, { code: 406, reason: 'NotAcceptable' }, { headers: as('PartialObjectMetadata') }),
      get(one, { code: 406, reason: 'NotAcceptable' }, { headers: as('PartialObjectMetadataList') }),
    ],
  },
  {
    it: 'refuses transformations that it does not know with 406',
    source: partial,
    steps: [make, get(one, { code: 406, reason: 'NotAcceptable' }, { headers: as('Chart') })],
  },
  {
    it: 'answers a write in the form that was asked for too',
    source: partial,
    steps: [
      post(configMaps, configMap('{n}'), { code: 201, body: { kind: 'Table' } }, { headers: as('Table') }),
      patch(
        'merge',
        one,
        { data: { b: '2' } },
        { code: 200, body: { kind: 'PartialObjectMetadata' } },
        {
          headers: as('PartialObjectMetadata'),
        },
      ),
    ],
  },
  {
    it: 'has no protobuf for custom resources',
    source: docs.concepts('protobuf-encoding'),
    needs: 'widgets',
    steps: [
      get(widgets, 406, { headers: { accept: 'application/vnd.kubernetes.protobuf' } }),
      get(
        widgets,
        { code: 200, body: { kind: 'WidgetList' } },
        {
          headers: { accept: 'application/vnd.kubernetes.protobuf, application/json' },
        },
      ),
      post(
        widgets,
        'k8s',
        { code: [400, 415] },
        {
          headers: { 'content-type': 'application/vnd.kubernetes.protobuf' },
        },
      ),
    ],
  },
  {
    it: 'watches as metadata only',
    source: partial,
    steps: [
      make,
      watch(
        `${configMaps}?watch=true&${ofCase}`,
        [{ type: 'ADDED', object: { kind: 'PartialObjectMetadata', metadata: { name: '{n}' }, data: undefined } }],
        { headers: as('PartialObjectMetadata') },
      ),
    ],
  },
  {
    it: 'watches as tables, one row in each event',
    source: tables,
    steps: [
      make,
      watch(
        `${configMaps}?watch=true&${ofCase}`,
        [{ type: 'ADDED', object: { kind: 'Table', rows: [{ object: { metadata: { name: '{n}' } } }] } }],
        { headers: as('Table') },
      ),
    ],
  },
  {
    it: 'does not watch in YAML',
    source: docs.source('staging/src/k8s.io/apiserver/pkg/endpoints/handlers/negotiation/negotiate.go'),
    steps: [
      get(`${configMaps}?watch=true&timeoutSeconds=1`, 406, {
        headers: { accept: 'application/yaml' },
      }),
    ],
  },
];
