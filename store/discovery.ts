/** Discovery: which groups, versions and resources there are, plain and aggregated (apidiscovery.k8s.io). Pure. */
import { createHash } from 'node:crypto';
import type { JsonObject } from './json.ts';
import { apiVersionOf, type ResourceKind, verbsOf } from './resources.ts';

/** What the store says it speaks: the API conventions of this Kubernetes version. */
export function formatVersion(nodeVersion: string): JsonObject {
  return {
    major: '1',
    minor: '32',
    gitVersion: 'v1.32.0+holdfast',
    gitCommit: '',
    gitTreeState: 'clean',
    buildDate: '1970-01-01T00:00:00Z',
    goVersion: `node ${nodeVersion}`,
    compiler: 'v8',
    platform: 'linux',
  };
}

interface Subresource {
  readonly name: string;
  /** Of what it answers. */
  readonly kind: string;
  readonly verbs: readonly string[];
  /** Where what it answers is of another group than its own kind. */
  readonly group?: string;
  readonly version?: string;
}

const streamVerbs = ['create', 'get'];

function subresourcesOf(kind: ResourceKind): readonly Subresource[] {
  const statusVerbs = kind.projection === undefined ? ['get', 'patch', 'update'] : ['get'];
  const streams: readonly Subresource[] = [
    { name: 'log', kind: kind.kind, verbs: ['get'] },
    { name: 'exec', kind: 'PodExecOptions', verbs: streamVerbs },
    { name: 'attach', kind: 'PodAttachOptions', verbs: streamVerbs },
    { name: 'portforward', kind: 'PodPortForwardOptions', verbs: streamVerbs },
    { name: 'stats', kind: kind.kind, verbs: ['get'] },
    { name: 'archive', kind: kind.kind, verbs: ['get', 'update'] },
  ];
  return [
    ...(kind.hasStatus ? [{ name: 'status', kind: kind.kind, verbs: statusVerbs }] : []),
    ...(kind.hasFinalize === true ? [{ name: 'finalize', kind: kind.kind, verbs: ['update'] }] : []),
    ...(kind.hasStreams ? streams : []),
    ...(kind.subresources ?? []),
  ];
}

/** A short hash that names the storage of a resource; equal hashes mean equal objects. */
function storageHash({ storageKey }: ResourceKind): string {
  return createHash('sha256').update(storageKey).digest('base64').slice(0, 11).concat('=');
}

/** GET /api/v1 and /apis/GROUP/VERSION. */
export function formatResourceList(kinds: readonly ResourceKind[], groupVersion: string): JsonObject {
  const resources = kinds.flatMap((kind): readonly JsonObject[] => [
    {
      name: kind.plural,
      singularName: kind.singular,
      namespaced: kind.isNamespaced,
      kind: kind.kind,
      verbs: verbsOf(kind),
      ...(kind.shortNames.length > 0 ? { shortNames: kind.shortNames } : {}),
      ...(kind.categories.length > 0 ? { categories: kind.categories } : {}),
      ...(kind.isReview === true ? {} : { storageVersionHash: storageHash(kind) }),
    },
    ...subresourcesOf(kind).map(({ name, kind: answer, verbs, group, version }) => ({
      name: `${kind.plural}/${name}`,
      singularName: '',
      namespaced: kind.isNamespaced,
      ...(group === undefined ? {} : { group }),
      ...(version === undefined ? {} : { version }),
      kind: answer,
      verbs,
    })),
  ]);
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources };
}

/** GET /api. */
export function formatApiVersions(serverAddress: string): JsonObject {
  return {
    kind: 'APIVersions',
    versions: ['v1'],
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress }],
  };
}

/** Groups with their versions in the order of the kinds, the core group left out. */
export function groupsOf(kinds: readonly ResourceKind[]): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, readonly string[]>();
  for (const { group, version } of kinds) {
    const versions = groups.get(group) ?? [];
    if (group !== '' && !versions.includes(version)) groups.set(group, [...versions, version]);
  }
  return groups;
}

/** GET /apis/GROUP. */
export function formatGroup(group: string, versions: readonly string[]): JsonObject {
  const all = versions.map((version) => ({ groupVersion: apiVersionOf({ group, version }), version }));
  return { kind: 'APIGroup', apiVersion: 'v1', name: group, versions: all, preferredVersion: all[0] };
}

/** GET /apis. */
export function formatGroupList(kinds: readonly ResourceKind[]): JsonObject {
  const groups = [...groupsOf(kinds)].map(([group, versions]) => {
    const { kind: _kind, apiVersion: _apiVersion, ...rest } = formatGroup(group, versions);
    return rest;
  });
  return { kind: 'APIGroupList', apiVersion: 'v1', groups };
}

/** GET /api (`core`) and /apis (`named`), for clients that want all of it in one answer. */
export function formatAggregated(
  kinds: readonly ResourceKind[],
  metaVersion: 'v2' | 'v2beta1',
  part: 'core' | 'named',
): JsonObject {
  const groups = part === 'core' ? new Map([['', ['v1']]]) : groupsOf(kinds);
  const items = [...groups].map(([group, versions]) => ({
    metadata: { name: group, creationTimestamp: null },
    versions: versions.map((version) => ({
      version,
      freshness: 'Current',
      resources: kinds.filter((kind) => kind.group === group && kind.version === version).map(aggregatedResource),
    })),
  }));
  return { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${metaVersion}`, metadata: {}, items };
}

function aggregatedResource(kind: ResourceKind): JsonObject {
  const { group, version } = kind;
  const subresources = subresourcesOf(kind).map(({ name, kind: answer, verbs, ...of }) => ({
    subresource: name,
    responseKind: { group: of.group ?? group, version: of.version ?? version, kind: answer },
    verbs,
  }));
  return {
    resource: kind.plural,
    responseKind: { group, version, kind: kind.kind },
    scope: kind.isNamespaced ? 'Namespaced' : 'Cluster',
    singularResource: kind.singular,
    verbs: verbsOf(kind),
    ...(kind.shortNames.length > 0 ? { shortNames: kind.shortNames } : {}),
    ...(kind.categories.length > 0 ? { categories: kind.categories } : {}),
    ...(subresources.length > 0 ? { subresources } : {}),
  };
}
