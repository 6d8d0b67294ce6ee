/**
 * crds/: the resources of Holdfast: CustomResourceDefinition files, and the TypeScript types generated from them.
 * Used by: all. May import: nothing.
 */
import { fileURLToPath } from 'node:url';
import type { ContainerSpec, ContainerStatus, NetworkSpec } from './types.ts';

export {
  addressPlaceholderOf,
  containerIDOf,
  formatRenamedFrom,
  type Identified,
  parseRename,
  type Rename,
  renamedFromAnnotation,
} from './container-id.ts';
export { hostnameAnnotation, hostnameOf, idAsHostname } from './hostname.ts';
export type { ContainerSpec, ContainerStatus, NetworkSpec } from './types.ts';
export { volumeNameOf } from './volume-name.ts';

/** metav1.ObjectMeta, as far as a stored object always or sometimes has it. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  readonly creationTimestamp: string;
  readonly deletionTimestamp?: string | undefined;
  readonly finalizers?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

/** A Container object as the API server returns it. */
export interface Container {
  readonly apiVersion: typeof apiVersion;
  readonly kind: 'Container';
  readonly metadata: ObjectMeta;
  readonly spec: ContainerSpec;
  readonly status?: ContainerStatus | undefined;
}

/** A Network object as the API server returns it. */
export interface Network {
  readonly apiVersion: typeof apiVersion;
  readonly kind: 'Network';
  readonly metadata: ObjectMeta;
  readonly spec: NetworkSpec;
}

export const group = 'holdfast.dev';
export const version = 'v1';
export const apiVersion = `${group}/${version}`;
export const plural = 'containers';

/** Keeps a deleted object until its container is gone from the host. */
export const finalizer = 'holdfast.dev/container';
export const networkPlural = 'networks';
/** In spec.networks of a Container: the network of those that have none. No Network has this name. */
export const defaultNetworkName = 'default';

/** Paths of the CustomResourceDefinition files, for a store to serve and for `kubectl apply`. */
export const crdFiles: readonly string[] = ['container.yaml', 'network.yaml'].map((name) =>
  fileURLToPath(new URL(name, import.meta.url)),
);
