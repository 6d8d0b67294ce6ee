/**
 * Which container of the host is meant by an object. Its id comes from the uid of the object that it was first made for:
 * so it is known again when a status was lost, and goes on when an object of another name takes it over. Pure.
 */
import { hash } from 'node:crypto';

/**
 * NAME/UID of the object whose container this one takes over, of the same namespace: a rename. If that one had itself
 * taken it over, /UID of the object that it was first made for follows.
 */
export const renamedFromAnnotation = 'holdfast.dev/renamed-from';

/** What of an object says which container it means. */
export interface Identified {
  readonly metadata: {
    readonly uid: string;
    readonly annotations?: Readonly<Record<string, string>> | undefined;
  };
}

export type Rename =
  | { readonly kind: 'none' }
  | { readonly kind: 'malformed'; readonly value: string }
  | { readonly kind: 'from'; readonly name: string; readonly uid: string; readonly originUid: string };

export function parseRename({ metadata }: Identified): Rename {
  const value = metadata.annotations?.[renamedFromAnnotation];
  if (value === undefined) return { kind: 'none' };
  const [, name, uid, originUid = uid] =
    /^([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\/([-\w]{1,64})(?:\/([-\w]{1,64}))?$/.exec(value) ?? [];
  if (name === undefined || uid === undefined || originUid === undefined || uid === metadata.uid) {
    return { kind: 'malformed', value: value.slice(0, 200) };
  }
  return { kind: 'from', name, uid, originUid };
}

/** The annotation's value for an object that takes over this one's container. */
export function formatRenamedFrom(object: Identified & { readonly metadata: { readonly name: string } }): string {
  const { name, uid } = object.metadata;
  const origin = originUidOf(object);
  return origin === uid ? `${name}/${uid}` : `${name}/${uid}/${origin}`;
}

function originUidOf(object: Identified): string {
  const rename = parseRename(object);
  return rename.kind === 'from' ? rename.originUid : object.metadata.uid;
}

/** 64 hexadecimal digits. */
export function containerIDOf(object: Identified): string {
  return hash('sha256', `holdfast container ${originUidOf(object)}`, 'hex');
}

/** Text that stands for the container's own address until the runtime knows it; nobody writes it by chance. */
export function addressPlaceholderOf(containerID: string): string {
  return `(address of ${containerID.slice(0, 24)})`;
}
