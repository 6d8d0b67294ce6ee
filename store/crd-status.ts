/**
 * The status of a CustomResourceDefinition: which names are accepted, whether its kind is served, which versions objects
 * are stored as. Pure. Source: apiextensions-apiserver's naming and establishing controllers.
 */
import {
  getPath,
  getString,
  isJsonArray,
  isJsonObject,
  type Json,
  type JsonObject,
  objectsOf,
  textsOf,
} from './json.ts';

/** Names in a group that others have. */
export interface TakenNames {
  readonly resources: ReadonlySet<string>;
  readonly kinds: ReadonlySet<string>;
}

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
}

/** Name of the finalizer that holds a definition until its objects are gone. */
export const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io';

export function isConditionTrue(crd: JsonObject, type: string): boolean {
  const conditions = objectsOf(getPath(crd, ['status', 'conditions']));
  return conditions.some((condition) => condition.type === type && condition.status === 'True');
}

/** The conditions with one of them set; its time changes only when its status does. */
export function setCondition(conditions: Json | undefined, set: Condition, now: string): readonly JsonObject[] {
  const all = objectsOf(conditions);
  const before = all.find(({ type }) => type === set.type);
  const isSame = before?.status === set.status && before.lastTransitionTime !== undefined;
  const next: JsonObject = {
    lastTransitionTime: isSame ? before.lastTransitionTime : now,
    message: set.message,
    reason: set.reason,
    status: set.status,
    type: set.type,
  };
  return before === undefined ? [...all, next] : all.map((condition) => (condition === before ? next : condition));
}

/** What a definition calls its kind that others must not, of what was accepted before. */
export function namesInUse(names: Json | undefined): { readonly resources: string[]; readonly kinds: string[] } {
  const text = (name: string): readonly string[] => {
    const found = getString(names, name);
    return found === undefined || found === '' ? [] : [found];
  };
  return {
    resources: [...text('plural'), ...text('singular'), ...textsOf(getPath(names, ['shortNames']))],
    kinds: [...text('kind'), ...text('listKind')],
  };
}

const nameFields = [
  { field: 'plural', among: 'resources', reason: 'PluralConflict' },
  { field: 'singular', among: 'resources', reason: 'SingularConflict' },
  { field: 'shortNames', among: 'resources', reason: 'ShortNamesConflict' },
  { field: 'kind', among: 'kinds', reason: 'KindConflict' },
  { field: 'listKind', among: 'kinds', reason: 'ListKindConflict' },
] as const;

function decideNames(wanted: JsonObject, accepted: JsonObject, taken: TakenNames) {
  let conflict: Pick<Condition, 'reason' | 'message'> | undefined;
  const next: Record<string, Json | undefined> = { ...accepted };
  for (const { field, among, reason } of nameFields) {
    const value = wanted[field];
    const clashes = (isJsonArray(value) ? value : [value]).filter((name) => taken[among].has(String(name)));
    if (clashes.length > 0) {
      conflict ??= { reason, message: clashes.map((name) => `"${String(name)}" is already in use`).join(', ') };
    } else if (value === undefined) delete next[field];
    else next[field] = value;
  }
  if (wanted.categories === undefined) delete next.categories;
  else next.categories = wanted.categories;
  return { names: { kind: '', plural: '', ...next }, conflict };
}

/** The status that a definition has among others; `now` as Kubernetes writes time. */
export function decideStatus(crd: JsonObject, taken: TakenNames, now: string): JsonObject {
  const status = isJsonObject(crd.status) ? crd.status : {};
  const wanted = getPath(crd, ['spec', 'names']);
  const accepted = isJsonObject(status.acceptedNames) ? status.acceptedNames : {};
  const { names, conflict } = decideNames(isJsonObject(wanted) ? wanted : {}, accepted, taken);
  const wasEstablished = isConditionTrue(crd, 'Established');
  const namesAccepted: Condition =
    conflict === undefined
      ? { type: 'NamesAccepted', status: 'True', reason: 'NoConflicts', message: 'no conflicts found' }
      : { type: 'NamesAccepted', status: 'False', ...conflict };
  const established: Condition =
    conflict === undefined || wasEstablished
      ? {
          type: 'Established',
          status: 'True',
          reason: 'InitialNamesAccepted',
          message: 'the initial names have been accepted',
        }
      : { type: 'Established', status: 'False', reason: 'NotAccepted', message: 'not all names are accepted' };
  const conditions = setCondition(setCondition(status.conditions, namesAccepted, now), established, now);
  const storage = objectsOf(getPath(crd, ['spec', 'versions'])).find((version) => version.storage === true);
  const stored = textsOf(status.storedVersions);
  const name = getString(storage, 'name');
  const storedVersions = name === undefined || stored.includes(name) ? stored : [...stored, name];
  return { ...status, acceptedNames: names, conditions, storedVersions };
}
