/**
 * What becomes of an object whose owners are gone, or are going. Pure. Source: the garbage collector of
 * kube-controller-manager, attemptToDeleteItem and processDeletingDependentsItem.
 */
import { foregroundFinalizer, type Propagation } from './delete-options.ts';
import type { JsonObject } from './json.ts';
import type { KubeObject } from './resources.ts';

/**
 * `waiting`: it is being deleted in the foreground, and waits for its dependents. `unknown`: nobody can tell whether it is
 * there, because its kind is not served or what is stored of it cannot be read.
 */
export type OwnerState = 'present' | 'absent' | 'waiting' | 'unknown';

export interface DependentInput {
  readonly object: KubeObject;
  /** In the order of its ownerReferences. */
  readonly owners: readonly OwnerState[];
  readonly dependents: 'none' | 'some' | 'in the foreground';
}

export type GarbageStep =
  | { readonly kind: 'keep' }
  /** Something is not known: look again later. */
  | { readonly kind: 'doubt' }
  | { readonly kind: 'forget'; readonly owners: readonly JsonObject[] }
  /** `unblock`: its owners need not wait for it any more, which would be for ever in a circle. */
  | { readonly kind: 'delete'; readonly propagation: Propagation; readonly unblock: boolean };

export function decideDependent({ object, owners, dependents }: DependentInput): GarbageStep {
  const { ownerReferences = [], deletionTimestamp } = object.metadata;
  if (deletionTimestamp !== undefined || ownerReferences.length === 0) return { kind: 'keep' };
  if (owners.includes('unknown')) return { kind: 'doubt' };
  const isWaiting = owners.includes('waiting');
  if (owners.includes('present')) {
    const gone = ownerReferences.filter((_, index) => owners[index] !== 'present');
    return gone.length === 0 ? { kind: 'keep' } : { kind: 'forget', owners: gone };
  }
  if (isWaiting && dependents !== 'none') {
    return { kind: 'delete', propagation: 'Foreground', unblock: dependents === 'in the foreground' };
  }
  return { kind: 'delete', propagation: 'default', unblock: false };
}

/** Whether an object is being deleted with a finalizer of the garbage collector. */
export function isHeldBy({ metadata }: KubeObject, finalizer: string): boolean {
  return metadata.deletionTimestamp !== undefined && metadata.finalizers?.includes(finalizer) === true;
}

export function isInForeground(object: KubeObject): boolean {
  return isHeldBy(object, foregroundFinalizer);
}

/** Whether the owner of that uid waits for this one. */
export function blocksOwner({ metadata }: KubeObject, uid: string): boolean {
  return metadata.ownerReferences?.some((owner) => owner.uid === uid && owner.blockOwnerDeletion === true) === true;
}

export function isOwnedBy({ metadata }: KubeObject, uid: string): boolean {
  return metadata.ownerReferences?.some((owner) => owner.uid === uid) === true;
}

/** The object without some of its owners. */
export function forgetOwners(object: KubeObject, isForgotten: (owner: JsonObject) => boolean): KubeObject {
  const { ownerReferences = [], ...metadata } = object.metadata;
  const left = ownerReferences.filter((owner) => !isForgotten(owner));
  return { ...object, metadata: { ...metadata, ...(left.length === 0 ? {} : { ownerReferences: left }) } };
}

export function unblockOwners(object: KubeObject): KubeObject {
  const ownerReferences = (object.metadata.ownerReferences ?? []).map((owner) =>
    owner.blockOwnerDeletion === true ? { ...owner, blockOwnerDeletion: false } : owner,
  );
  return { ...object, metadata: { ...object.metadata, ownerReferences } };
}
