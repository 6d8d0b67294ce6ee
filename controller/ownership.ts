/**
 * Whose a container is, when an object of another name takes it over (a rename). The truth is the label of the container:
 * it has one owner at any moment, and changes hands only when its owner is being deleted or is gone. Pure.
 */
import type { Container } from '../crds/index.ts';
import { parseRename } from '../crds/index.ts';

/** Who a container's labels say it belongs to. */
export interface Holder {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

export interface OwnershipInput {
  readonly object: Container;
  /** Of its container. */
  readonly containerID: string;
  /** All other objects that mean the same container. */
  readonly rivals: readonly Container[];
  /** undefined: there is no container. */
  readonly holder: Holder | undefined;
}

export type Ownership =
  /** The container is this object's, or this object may make it. */
  | { readonly kind: 'own' }
  /** The container becomes this object's. */
  | { readonly kind: 'adopt'; readonly from: Holder }
  /** It is being deleted, and another object takes its container over: wait for that. */
  | { readonly kind: 'hand-over'; readonly to: Container }
  /** It is being deleted and has no container (any more). */
  | { readonly kind: 'let-go' }
  | { readonly kind: 'wait'; readonly reason: 'RenamePending' | 'RenameConflict'; readonly message: string };

export function decideOwnership(input: OwnershipInput): Ownership {
  const { object, rivals, holder, containerID } = input;
  const isDeleting = object.metadata.deletionTimestamp !== undefined;
  if (holder === undefined) return decideWithoutContainer(input);
  if (holder.uid === object.metadata.uid) {
    const heir = isDeleting ? electHeir(object.metadata, rivals) : undefined;
    return heir === undefined ? { kind: 'own' } : { kind: 'hand-over', to: heir };
  }
  const owner = rivals.find(({ metadata }) => metadata.uid === holder.uid);
  if (isDeleting) {
    // Until the heir's status has what was remembered, this object's status is all that does.
    const isRemembered = owner === undefined || owner.status?.containerID === containerID;
    return isRemembered || !isHeirOf(owner, object.metadata) ? { kind: 'let-go' } : { kind: 'hand-over', to: owner };
  }
  const isOwnerStaying = owner !== undefined && owner.metadata.deletionTimestamp === undefined;
  if (!isHeirOf(object, holder)) return conflict(holder);
  if (isOwnerStaying) return pending(holder);
  const heir = electHeir(holder, [object, ...rivals]);
  return heir === object ? { kind: 'adopt', from: holder } : conflict(heir?.metadata ?? holder);
}

function decideWithoutContainer({ object, rivals }: OwnershipInput): Ownership {
  const others = rivals.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  if (object.metadata.deletionTimestamp !== undefined)
    return others.length === 0 ? { kind: 'own' } : { kind: 'let-go' };
  const rename = parseRename(object);
  // The one that it was first made for comes before all who refer to it.
  if (rename.kind !== 'from') return { kind: 'own' };
  const origin = others.find((one) => parseRename(one).kind !== 'from');
  const predecessor = others.find(({ metadata }) => metadata.uid === rename.uid);
  const first = predecessor ?? origin;
  if (first !== undefined) return isHeirOf(object, first.metadata) ? pending(first.metadata) : conflict(first.metadata);
  const winner = [object, ...others].sort(byAge)[0];
  return winner === undefined || winner === object ? { kind: 'own' } : conflict(winner.metadata);
}

/** Whether the object says that it takes over from that one. */
function isHeirOf(object: Container, { uid, namespace, name }: Holder): boolean {
  const rename = parseRename(object);
  return (
    rename.kind === 'from' && rename.uid === uid && rename.name === name && object.metadata.namespace === namespace
  );
}

/** Of several that want to take over, the oldest. */
function electHeir(from: Holder, objects: readonly Container[]): Container | undefined {
  return objects.filter((one) => one.metadata.deletionTimestamp === undefined && isHeirOf(one, from)).sort(byAge)[0];
}

function byAge(a: Container, b: Container): number {
  const key = ({ metadata }: Container): string => `${metadata.creationTimestamp ?? ''} ${metadata.uid}`;
  return key(a) < key(b) ? -1 : 1;
}

function pending({ name }: Holder): Ownership {
  const message = `takes over the container of "${name}" when that object is deleted: kubectl delete ctr ${name}`;
  return { kind: 'wait', reason: 'RenamePending', message };
}

function conflict({ namespace, name }: Holder): Ownership {
  const message = `the container that metadata.annotations["holdfast.dev/renamed-from"] names belongs to "${namespace}/${name}"; delete this object, or create it without the annotation`;
  return { kind: 'wait', reason: 'RenameConflict', message };
}
