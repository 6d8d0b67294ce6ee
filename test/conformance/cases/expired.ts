/** Versions that the server no longer knows: whoever asks for them must list again. */
import { type Case, configMap, configMaps, docs, get, ofCase, post, watch } from '../case.ts';
import { aRevision } from '../expect.ts';

const gone = docs.concepts('410-gone-responses');
const watching = docs.source('staging/src/k8s.io/apiserver/pkg/storage/cacher/cacher.go');
const failed = {
  type: 'ERROR',
  object: { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 410, reason: 'Expired', message: /./u },
} as const;
const expired = { code: 410, reason: 'Expired' } as const;

export const expiredCases: readonly Case[] = [
  {
    it: 'a watch from a version that is gone brings one ERROR with a Status 410 Expired, and ends',
    source: gone,
    needs: 'compacted',
    steps: [watch(`${configMaps}?watch=true&resourceVersion=1`, [failed], { ends: true })],
  },
  {
    it: 'says how old the version is in the ERROR of a watch',
    source: watching,
    needs: 'compacted',
    steps: [
      watch(`${configMaps}?watch=true&resourceVersion=1`, [
        { type: 'ERROR', object: { ...failed.object, message: /^too old resource version: 1(?: \(\d+\))?$/u } },
      ]),
    ],
  },
  {
    it: 'a watch of all namespaces, with selectors or bookmarks, from a version that is gone ends with an ERROR as well',
    source: gone,
    needs: 'compacted',
    steps: [
      watch(`/api/v1/configmaps?watch=true&${ofCase}&resourceVersion=1`, [failed], { ends: true }),
      watch(`${configMaps}?watch=true&resourceVersion=1&fieldSelector=metadata.name%3D{n}`, [failed], { ends: true }),
      watch(`${configMaps}?watch=true&resourceVersion=1&allowWatchBookmarks=true`, [failed], { ends: true }),
    ],
  },
  {
    it: 'the ERROR of a watch stays a Status where tables or metadata are asked for',
    source: watching,
    needs: 'compacted',
    steps: [
      watch(`${configMaps}?watch=true&resourceVersion=1`, [failed], {
        headers: { accept: 'application/json;as=Table;g=meta.k8s.io;v=v1' },
      }),
      watch(`${configMaps}?watch=true&resourceVersion=1`, [failed], {
        headers: { accept: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1' },
      }),
    ],
  },
  {
    it: 'a list at exactly a version that is gone is answered with 410 Expired',
    source: gone,
    needs: 'compacted',
    steps: [
      get(`${configMaps}?resourceVersion=1&resourceVersionMatch=Exact`, expired),
      get(`${configMaps}?resourceVersion=1&resourceVersionMatch=Exact&limit=10&${ofCase}`, expired),
      get('/api/v1/configmaps?resourceVersion=1&resourceVersionMatch=Exact', expired),
    ],
  },
  {
    it: 'a list not older than a version that is gone shows the present',
    source: docs.concepts('semantics-for-get-and-list'),
    needs: 'compacted',
    steps: [
      post(configMaps, configMap('{n}'), 201, { save: { rv: 'metadata.resourceVersion' } }),
      get(`${configMaps}?${ofCase}&resourceVersion={rv}&resourceVersionMatch=NotOlderThan`, 200),
      get(`${configMaps}?${ofCase}&resourceVersion=1&resourceVersionMatch=NotOlderThan`, {
        code: 200,
        body: { metadata: { resourceVersion: aRevision }, items: [{ metadata: { name: '{n}' } }] },
      }),
      get(`${configMaps}/{n}?resourceVersion=1`, { code: 200, body: { metadata: { name: '{n}' } } }),
    ],
  },
  {
    it: 'a watch with sendInitialEvents from a version that is gone begins with what there is',
    source: docs.concepts('streaming-lists'),
    needs: 'watchList',
    steps: [
      post(configMaps, configMap('{n}'), 201, { save: { rv: 'metadata.resourceVersion' } }),
      watch(
        `${configMaps}?watch=true&${ofCase}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=1`,
        [{ type: 'ADDED', object: { metadata: { name: '{n}', resourceVersion: '{rv}' } } }],
      ),
    ],
  },
  {
    it: 'after a 410 a list and a watch from its version go on',
    source: gone,
    needs: 'compacted',
    steps: [
      watch(`${configMaps}?watch=true&resourceVersion=1`, [failed]),
      get(`${configMaps}?${ofCase}`, 200, { save: { rv: 'metadata.resourceVersion' } }),
      watch(
        `${configMaps}?watch=true&${ofCase}&resourceVersion={rv}`,
        [{ type: 'ADDED', object: { metadata: { name: '{n}' } } }],
        { during: [post(configMaps, configMap('{n}'))] },
      ),
    ],
  },
];
