/**
 * Rules of RBAC: what they allow, and whether some cover others. Pure.
 * Source: component-helpers/auth/rbac/validation and registry/rbac/validation of Kubernetes.
 */
import { getOwn, isJsonArray, isJsonObject, type Json, type JsonObject, textsOf } from '../json.ts';
import type { Attributes } from './attributes.ts';

/** rbac.authorization.k8s.io/v1 PolicyRule. */
export interface PolicyRule {
  readonly verbs: readonly string[];
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames: readonly string[];
  readonly nonResourceURLs: readonly string[];
}

/** Reads the `rules` of a Role or ClusterRole that the schema has checked. */
export function parseRules(value: Json | undefined): readonly PolicyRule[] {
  if (!isJsonArray(value)) return [];
  return value.filter(isJsonObject).map((rule) => ({
    verbs: textsOf(getOwn(rule, 'verbs')),
    apiGroups: textsOf(getOwn(rule, 'apiGroups')),
    resources: textsOf(getOwn(rule, 'resources')),
    resourceNames: textsOf(getOwn(rule, 'resourceNames')),
    nonResourceURLs: textsOf(getOwn(rule, 'nonResourceURLs')),
  }));
}

/** As it stands in an object: without what is empty. */
export function ruleToJson(rule: PolicyRule): JsonObject {
  const fields = [
    ['verbs', rule.verbs],
    ['apiGroups', rule.apiGroups],
    ['resources', rule.resources],
    ['resourceNames', rule.resourceNames],
    ['nonResourceURLs', rule.nonResourceURLs],
  ] as const;
  return Object.fromEntries(fields.filter(([key, list]) => key === 'verbs' || list.length > 0));
}

function hasOrAll(list: readonly string[], value: string): boolean {
  return list.includes(value) || list.includes('*');
}

export function ruleAllows(rule: PolicyRule, attributes: Attributes): boolean {
  if (!hasOrAll(rule.verbs, attributes.verb)) return false;
  if (!attributes.isResource) return rule.nonResourceURLs.some((url) => urlMatches(url, attributes.path));
  const { group, resource, subresource, name } = attributes;
  const isNamed = rule.resourceNames.length === 0 || (name !== '' && rule.resourceNames.includes(name));
  return isNamed && hasOrAll(rule.apiGroups, group) && resourceMatches(rule.resources, resource, subresource);
}

function urlMatches(rule: string, path: string): boolean {
  if (rule === '*' || rule === path) return true;
  return rule.endsWith('*') && path.startsWith(rule.replace(/\*+$/u, ''));
}

function resourceMatches(resources: readonly string[], resource: string, subresource: string): boolean {
  if (resources.includes('*')) return true;
  if (subresource === '') return resources.includes(resource);
  return resources.includes(`${resource}/${subresource}`) || resources.includes(`*/${subresource}`);
}

/** The wanted rules, in their smallest pieces, that the owned rules do not cover. */
export function uncovered(owned: readonly PolicyRule[], wanted: readonly PolicyRule[]): readonly PolicyRule[] {
  const missing: PolicyRule[] = [];
  for (const rule of wanted) {
    for (const piece of piecesOf(rule)) {
      if (!owned.some((own) => covers(own, piece))) missing.push(piece);
    }
  }
  return missing;
}

/** Pieces of one role's rules at most: a rule of many lists could ask for billions. */
export const maxPieces = 10_000;

export function countPieces({ verbs, apiGroups, resources, resourceNames, nonResourceURLs }: PolicyRule): number {
  const ofResources = apiGroups.length * resources.length * Math.max(1, resourceNames.length);
  return verbs.length * (ofResources + nonResourceURLs.length);
}

function* piecesOf({ verbs, apiGroups, resources, resourceNames, nonResourceURLs }: PolicyRule): Generator<PolicyRule> {
  const empty = { apiGroups: [], resources: [], resourceNames: [], nonResourceURLs: [] };
  for (const group of apiGroups) {
    for (const resource of resources) {
      for (const verb of verbs) {
        const piece = { ...empty, apiGroups: [group], resources: [resource], verbs: [verb] };
        if (resourceNames.length === 0) yield piece;
        else for (const name of resourceNames) yield { ...piece, resourceNames: [name] };
      }
    }
  }
  for (const url of nonResourceURLs) {
    for (const verb of verbs) yield { ...empty, nonResourceURLs: [url], verbs: [verb] };
  }
}

function covers(own: PolicyRule, piece: PolicyRule): boolean {
  const isVerb = own.verbs.includes('*') || piece.verbs.every((verb) => own.verbs.includes(verb));
  if (!isVerb) return false;
  const [url] = piece.nonResourceURLs;
  if (url !== undefined) return own.nonResourceURLs.some((rule) => urlMatches(rule, url));
  const isGroup = own.apiGroups.includes('*') || piece.apiGroups.every((group) => own.apiGroups.includes(group));
  const isName =
    own.resourceNames.length === 0 ||
    (piece.resourceNames.length > 0 && piece.resourceNames.every((name) => own.resourceNames.includes(name)));
  return isGroup && isName && piece.resources.every((resource) => resourceCovers(own.resources, resource));
}

function resourceCovers(owned: readonly string[], resource: string): boolean {
  if (owned.includes('*') || owned.includes(resource)) return true;
  const slash = resource.indexOf('/');
  return slash !== -1 && owned.includes(`*/${resource.slice(slash + 1)}`);
}

/** Puts pieces that differ in their verb only together again, for people to read. */
export function compact(pieces: readonly PolicyRule[]): readonly PolicyRule[] {
  const byRest = new Map<string, PolicyRule>();
  for (const piece of pieces) {
    const key = JSON.stringify([piece.apiGroups, piece.resources, piece.resourceNames, piece.nonResourceURLs]);
    const before = byRest.get(key);
    byRest.set(
      key,
      before === undefined ? piece : { ...before, verbs: [...new Set([...before.verbs, ...piece.verbs])] },
    );
  }
  return [...byRest.values()];
}

/** As rbac/v1 helpers CompactString. */
export function formatRule(rule: PolicyRule): string {
  const list = (values: readonly string[]): string => `[${values.map((value) => JSON.stringify(value)).join(' ')}]`;
  const parts = [
    ['APIGroups', rule.apiGroups],
    ['Resources', rule.resources],
    ['NonResourceURLs', rule.nonResourceURLs],
    ['ResourceNames', rule.resourceNames],
    ['Verbs', rule.verbs],
  ] as const;
  return `{${parts
    .filter(([, values]) => values.length > 0)
    .map(([name, values]) => `${name}:${list(values)}`)
    .join(', ')}}`;
}
