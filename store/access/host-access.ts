/**
 * What a host's controller may touch: its Containers, the Secrets and ConfigMaps that those refer to, its Node and Lease,
 * and events. After Kubernetes' Node authorizer and NodeRestriction. The index follows the Containers, so that no request
 * scans them; a list or watch of a host shows only what is its own.
 */
import * as containers from '../../crds/index.ts';
import { getPath, getString, isJsonArray, type Json, jsonEqual } from '../json.ts';
import { keyOf } from '../memory.ts';
import type { KubeObject, ResourceKind } from '../resources.ts';
import { forbidden } from '../status-error.ts';
import type { Attributes, ResourceAttributes } from './attributes.ts';
import { hostRules } from './built-in-roles.ts';
import type { Decision, Visibility } from './decision.ts';
import { ruleAllows } from './policy-rules.ts';

export const containerStorageKey = `${containers.plural}.${containers.group}`;

interface Placed {
  readonly host: string;
  /** The last one of the Container that is known. */
  revision: number;
  /** `secrets/NAMESPACE/NAME` and the like, each once. */
  readonly references: readonly string[];
}

const noReferences: readonly string[] = [];

export class HostAccess {
  readonly #defaultHost: string | undefined;
  /** By `NAMESPACE/NAME`. */
  readonly #containers = new Map<string, Placed>();
  /** Those that have no host. */
  readonly #homeless = new Set<string>();
  /** By host, then by what is referred to: how many of its Containers do. */
  readonly #references = new Map<string, Map<string, number>>();

  /** `defaultHost`: has the Containers that name no host. */
  constructor(defaultHost: string | undefined) {
    this.#defaultHost = defaultHost;
  }

  /** Takes in a Container as it is now; undefined: it is gone. */
  update(key: string, object: KubeObject | undefined): void {
    const before = this.#containers.get(key);
    const revision = Number(object?.metadata.resourceVersion);
    const host = object === undefined ? undefined : this.#placeOf(object);
    if (object === undefined || host !== undefined) this.#homeless.delete(key);
    else this.#homeless.add(key);
    if (object === undefined || host === undefined) {
      if (before === undefined) return;
      this.#containers.delete(key);
      this.#count(before, -1);
      return;
    }
    const references = referencesOf(object);
    if (before?.host === host && sameList(before.references, references)) {
      before.revision = revision;
      return;
    }
    const placed = { host, revision, references };
    this.#containers.set(key, placed);
    this.#count(placed, 1);
    if (before !== undefined) this.#count(before, -1);
  }

  authorize(host: string, attributes: Attributes): Decision {
    if (!hostRules.some((rule) => ruleAllows(rule, attributes))) return { isAllowed: false, reason: '' };
    if (!attributes.isResource) return { isAllowed: true, reason: '' };
    const { group, resource, name, namespace } = attributes;
    const isMany = name === '' || attributes.verb === 'list' || attributes.verb === 'watch';
    if (isPlacedResource(attributes)) {
      if (isMany) return { isAllowed: true, reason: '', visibility: this.#visibilityOf(host) };
      if (this.#isOwn(host, group, resource, namespace, name)) return yes;
      // A controller must learn that what it runs is there no more: refused, it would run it for ever. So a host can find out
      // which names others have, as with Kubernetes' Node authorizer. What comes there meanwhile, recheck and admit() see.
      const isThere = group !== containers.group || this.#isThere(`${namespace}/${name}`);
      return isThere ? unrelated(host) : yes;
    }
    if (resource === 'nodes') {
      if (name === host) return yes;
      if (name !== '') return { isAllowed: false, reason: `host '${host}' cannot touch node '${name}'` };
      // Which one it creates, admit() sees.
      return { ...yes, visibility: (_kind, { key }) => key === keyOf(undefined, host) };
    }
    if (resource === 'leases') {
      if (namespace !== 'kube-node-lease')
        return { isAllowed: false, reason: `can only access leases in the "kube-node-lease" system namespace` };
      const isOther = name !== '' && name !== host;
      return isOther
        ? { isAllowed: false, reason: 'can only access node lease with the same name as the requesting node' }
        : yes;
    }
    return yes;
  }

  /** Checks a write of a host against what is stored: it may be of its own only. Throws StatusError 403. */
  admit(host: string, kind: ResourceKind, object: KubeObject, previous: KubeObject | undefined): void {
    const { name } = object.metadata;
    const refuse = (because: string) => forbidden(kind, name, `host '${host}' ${because}`);
    if (kind.storageKey === containerStorageKey) {
      if (previous === undefined) throw refuse('may not create containers');
      if (this.#placeOf(previous) !== host) throw refuse('may not touch containers of other hosts');
      if (!jsonEqual(previous.spec, object.spec)) throw refuse('may not change the spec of a container');
      if (!jsonEqual(previous.metadata.labels ?? {}, object.metadata.labels ?? {}))
        throw refuse('may not change the labels of a container');
    } else if ((kind.plural === 'nodes' || kind.plural === 'leases') && name !== host) {
      throw refuse(`may only write the ${kind.plural === 'nodes' ? 'node' : 'lease'} of its own name`);
    }
  }

  #placeOf(container: KubeObject): string | undefined {
    const named = getString(container, 'spec', 'nodeName') ?? '';
    return named === '' ? this.#defaultHost : named;
  }

  #isOwn(host: string, group: string, resource: string, namespace: string, name: string): boolean {
    if (group === containers.group) return this.#containers.get(`${namespace}/${name}`)?.host === host;
    return this.#isReferredTo(host, `${resource}/${namespace}/${name}`);
  }

  #isThere(key: string): boolean {
    return this.#containers.has(key) || this.#homeless.has(key);
  }

  #isReferredTo(host: string, reference: string): boolean {
    return this.#references.get(host)?.has(reference) === true;
  }

  #visibilityOf(host: string): Visibility {
    return (kind, entry) => {
      if (kind.storageKey !== containerStorageKey) return this.#isReferredTo(host, `${kind.plural}/${entry.key}`);
      // A change of place is judged by what the object says: before the change it was seen, after it no more.
      const placed = this.#containers.get(entry.key);
      return (placed?.revision === entry.revision ? placed.host : this.#placeOf(entry.object)) === host;
    };
  }

  #count({ host, references }: Placed, step: 1 | -1): void {
    if (references.length === 0) return;
    const counts = this.#references.get(host) ?? new Map<string, number>();
    this.#references.set(host, counts);
    for (const reference of references) {
      const count = (counts.get(reference) ?? 0) + step;
      if (count > 0) counts.set(reference, count);
      else counts.delete(reference);
    }
    if (counts.size === 0) this.#references.delete(host);
  }
}

const yes: Decision = { isAllowed: true, reason: '' };

function unrelated(host: string): Decision {
  return { isAllowed: false, reason: `no relationship found between host '${host}' and this object` };
}

/** Resources of which a host has a part only. */
function isPlacedResource({ group, resource }: ResourceAttributes): boolean {
  if (group === containers.group) return resource === containers.plural;
  return group === '' && (resource === 'secrets' || resource === 'configmaps');
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

/** The Secrets and ConfigMaps that a Container refers to, wherever in its spec; all in its own namespace. */
export function referencesOf(container: KubeObject): readonly string[] {
  const found = new Set<string>();
  const { namespace = '' } = container.metadata;
  const add = (resource: 'secrets' | 'configmaps', name: string | undefined): void => {
    if (name !== undefined && name !== '') found.add(`${resource}/${namespace}/${name}`);
  };
  for (const { valueFrom } of items(container, 'spec', 'env').map((env) => ({
    valueFrom: getPath(env, ['valueFrom']),
  }))) {
    add('secrets', getString(valueFrom, 'secretKeyRef', 'name'));
    add('configmaps', getString(valueFrom, 'configMapKeyRef', 'name'));
  }
  for (const source of items(container, 'spec', 'envFrom')) {
    add('secrets', getString(source, 'secretRef', 'name'));
    add('configmaps', getString(source, 'configMapRef', 'name'));
  }
  for (const reference of items(container, 'spec', 'imagePullSecrets')) add('secrets', getString(reference, 'name'));
  for (const volume of items(container, 'spec', 'volumes')) {
    add('secrets', getString(volume, 'secret', 'secretName'));
    add('configmaps', getString(volume, 'configMap', 'name'));
    for (const source of items(volume, 'projected', 'sources')) {
      add('secrets', getString(source, 'secret', 'name'));
      add('configmaps', getString(source, 'configMap', 'name'));
    }
  }
  return found.size === 0 ? noReferences : [...found];
}

function items(value: Json, ...path: readonly string[]): readonly Json[] {
  const found = getPath(value, path);
  return isJsonArray(found) ? found : [];
}
