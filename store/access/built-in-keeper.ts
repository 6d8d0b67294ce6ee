/**
 * Keeps what every store has of access: the built-in roles and bindings, the rules of roles that are put together from
 * others, and the `default` ServiceAccount of each namespace. Effects: writes to the store; one that fails is tried again.
 */
import type { Logger } from 'pino';
import {
  getOwn,
  getPath,
  getString,
  isJsonArray,
  isJsonObject,
  type Json,
  type JsonObject,
  jsonEqual,
} from '../json.ts';
import { keyOf } from '../memory.ts';
import type { Operations } from '../operations.ts';
import type { KubeObject, ResourceKind } from '../resources.ts';
import { StatusError } from '../status-error.ts';
import type { Writer } from '../writer.ts';
import { autoupdateAnnotation, builtInClusterRoleBindings, builtInClusterRoles } from './built-in-roles.ts';
import { type PolicyRule, parseRules, ruleToJson, uncovered } from './policy-rules.ts';
import { clusterRoleBindingKind, clusterRoleKind, serviceAccountKind } from './rbac-kinds.ts';

export interface KeeperDeps {
  readonly writer: Writer;
  readonly operations: Operations;
  readonly namespaces: ResourceKind;
  readonly log: Logger;
}

const retryMs = 5_000;
/** Roles that are put together of such as are put together, and so on. */
const maxRounds = 8;
const mode = { isDryRun: false, checkUnknown: (): void => {} };

/** What may be under way of the aggregated roles. */
const aggregated = 'the rules of an aggregated role';

/** Makes what is missing, and begins to follow. Resolves when all of it is there, or will be tried again. */
export async function startKeeper(deps: KeeperDeps): Promise<{ close(): void }> {
  const { writer, operations, namespaces, log } = deps;
  await Promise.all([
    ...builtInClusterRoles.map((wanted) => ensure(deps, clusterRoleKind, wanted, mergeRole)),
    ...builtInClusterRoleBindings.map((wanted) => ensure(deps, clusterRoleBindingKind, wanted, mergeBinding)),
  ]);
  let isClosed = false;
  const timers = new Map<string, NodeJS.Timeout>();
  /** Done once it was tried: what fails now is tried again, and keeps nobody from starting. */
  const persist = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    if (isClosed) return;
    try {
      await work();
    } catch (error) {
      if (isClosed || timers.has(what)) return;
      log.warn({ err: error, what }, 'what belongs to access could not be written; trying again');
      const again = (): void => {
        timers.delete(what);
        void persist(what, work);
      };
      timers.set(what, setTimeout(again, retryMs).unref());
    }
  };
  const account = (namespace: string): Promise<void> =>
    persist(`the default service account of ${namespace}`, () =>
      ensureAccount(operations, writer, namespaces, namespace),
    );
  let aggregating: 'no' | 'once' | 'again' = 'no';
  const aggregateSoon = (): void => {
    if (aggregating !== 'no') {
      aggregating = 'again';
      return;
    }
    aggregating = 'once';
    void persist(aggregated, async () => {
      try {
        await aggregate(deps);
      } finally {
        const isAgain = aggregating === 'again';
        aggregating = 'no';
        if (isAgain) aggregateSoon();
      }
    });
  };
  const unsubscribe = writer.subscribe((storageKey, { kind, entry }) => {
    const { object } = entry;
    if (storageKey === clusterRoleKind.storageKey) {
      aggregateSoon();
    } else if (storageKey === namespaces.storageKey && kind === 'ADDED') {
      void account(object.metadata.name);
    } else if (
      storageKey === serviceAccountKind.storageKey &&
      kind === 'DELETED' &&
      object.metadata.name === 'default'
    ) {
      void account(object.metadata.namespace ?? '');
    }
  });
  await persist(aggregated, () => aggregate(deps));
  const names = [...writer.collection(namespaces).list(undefined)].map(({ object }) => object.metadata.name);
  await Promise.all(names.map(account));
  return {
    close: () => {
      isClosed = true;
      unsubscribe();
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}

/** Source: serviceaccount controller: each namespace that is not being removed has one. */
async function ensureAccount(
  operations: Operations,
  writer: Writer,
  namespaces: ResourceKind,
  namespace: string,
): Promise<void> {
  const found = writer.collection(namespaces).get(keyOf(undefined, namespace));
  if (found === undefined || found.object.metadata.deletionTimestamp !== undefined) return;
  if (writer.collection(serviceAccountKind).get(keyOf(namespace, 'default')) !== undefined) return;
  await operations
    .create(serviceAccountKind, namespace, { metadata: { name: 'default' } }, mode)
    .catch(ignore('AlreadyExists', 'Forbidden', 'NotFound'));
}

/** Refusals that mean that there is nothing to do (any more). */
function ignore(...reasons: readonly string[]): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof StatusError) || !reasons.includes(error.reason)) throw error;
  };
}

async function ensure(
  { writer, operations }: KeeperDeps,
  kind: ResourceKind,
  wanted: JsonObject,
  merge: (present: KubeObject, wanted: JsonObject) => JsonObject,
): Promise<void> {
  const name = getString(wanted, 'metadata', 'name') ?? '';
  const present = writer.collection(kind).get(keyOf(undefined, name))?.object;
  if (present === undefined) {
    await operations.create(kind, undefined, wanted, mode).catch(ignore('AlreadyExists'));
    return;
  }
  if (present.metadata.annotations?.[autoupdateAnnotation] === 'false') return;
  const merged = merge(present, wanted);
  if (!jsonEqual(merged, present))
    await operations.replace({ kind, namespace: undefined, name }, undefined, merged, mode);
}

/** What is missing is added; what others added stays. Source: component-helpers/auth/rbac/reconciliation. */
function mergeRole(present: KubeObject, wanted: JsonObject): JsonObject {
  const metadata = mergeMetadata(present, wanted);
  const aggregationRule = getOwn(wanted, 'aggregationRule');
  if (aggregationRule !== undefined) return { ...present, metadata, aggregationRule };
  const rules = parseRules(getOwn(present, 'rules'));
  const missing = parseRules(getOwn(wanted, 'rules')).filter((rule) => uncovered(rules, [rule]).length > 0);
  const before = getOwn(present, 'rules');
  return { ...present, metadata, rules: [...(isJsonArray(before) ? before : []), ...missing.map(ruleToJson)] };
}

function mergeBinding(present: KubeObject, wanted: JsonObject): JsonObject {
  const before = getOwn(present, 'subjects');
  const subjects: readonly Json[] = isJsonArray(before) ? before : [];
  const asked = getOwn(wanted, 'subjects');
  const missing = (isJsonArray(asked) ? asked : []).filter(
    (one) => !subjects.some((subject) => jsonEqual(subject, one)),
  );
  return { ...present, metadata: mergeMetadata(present, wanted), subjects: [...subjects, ...missing] };
}

function mergeMetadata(present: KubeObject, wanted: JsonObject): JsonObject {
  const { metadata } = present;
  const added = (field: 'labels' | 'annotations'): JsonObject => {
    const found = getPath(wanted, ['metadata', field]);
    return { ...metadata[field], ...(isJsonObject(found) ? found : {}) };
  };
  return { ...metadata, labels: added('labels'), annotations: added('annotations') };
}

/** Gives each aggregated role the rules of those that it picks. Source: the clusterroleaggregation controller. */
async function aggregate({ writer, operations }: KeeperDeps): Promise<void> {
  // One role may be part of another that is part of a third.
  for (let isChanged = true, rounds = 0; isChanged && rounds < maxRounds; rounds++) {
    isChanged = false;
    for (const name of [...writer.collection(clusterRoleKind).list(undefined)].map(
      ({ object }) => object.metadata.name,
    )) {
      // Read anew: the one before may have changed.
      const role = writer.collection(clusterRoleKind).get(keyOf(undefined, name))?.object;
      const selectors = getPath(role, ['aggregationRule', 'clusterRoleSelectors']);
      if (role === undefined || !isJsonArray(selectors)) continue;
      const others = [...writer.collection(clusterRoleKind).list(undefined)].map(({ object }) => object);
      const rules = rulesPickedBy(
        selectors,
        others.filter((one) => one.metadata.name !== name),
      );
      if (jsonEqual(rules, getOwn(role, 'rules') ?? [])) continue;
      const place = { kind: clusterRoleKind, namespace: undefined, name };
      await operations.patch(place, undefined, { kind: 'merge', value: { rules } }, mode).catch(ignore('NotFound'));
      isChanged = true;
    }
  }
}

function rulesPickedBy(selectors: readonly Json[], roles: readonly KubeObject[]): readonly JsonObject[] {
  const picked = new Map<string, PolicyRule>();
  for (const role of roles) {
    if (!selectors.some((selector) => selects(selector, role.metadata.labels ?? {}))) continue;
    for (const rule of parseRules(getOwn(role, 'rules'))) picked.set(JSON.stringify(rule), rule);
  }
  return [...picked.values()].map(ruleToJson);
}

/** A metav1.LabelSelector. */
function selects(selector: Json, labels: Readonly<Record<string, string>>): boolean {
  const wanted = getPath(selector, ['matchLabels']);
  const isMatch = Object.entries(isJsonObject(wanted) ? wanted : {}).every(
    ([key, value]) => getOwn(labels, key) === value,
  );
  const expressions = getPath(selector, ['matchExpressions']);
  return (
    isMatch &&
    (isJsonArray(expressions) ? expressions : []).every((expression) => matchesExpression(expression, labels))
  );
}

function matchesExpression(expression: Json, labels: Readonly<Record<string, string>>): boolean {
  const value = getOwn(labels, getString(expression, 'key') ?? '');
  const values = getPath(expression, ['values']);
  const isIn = value !== undefined && isJsonArray(values) && values.includes(value);
  switch (getString(expression, 'operator')) {
    case 'In':
      return isIn;
    case 'NotIn':
      return !isIn;
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      return false;
  }
}
