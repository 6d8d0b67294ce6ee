/**
 * runtime/: containers on this host: images, root file systems, networks, OCI bundles, monitors, logs.
 * Used by: controller/, docker/, cli/, store/ never. May import: npm only. Must not know: Kubernetes.
 */
export { describeDrift, driftKinds, driftTable } from './drift.ts';
export { type ImageReference, parseReference, type RegistryReference } from './images/index.ts';
export * from './interface.ts';
export { createRuntime, type RuntimeDeps } from './local-runtime.ts';
export { type OpenImageStoreDeps, openImageStore } from './open-image-store.ts';
export { findSecurityProblems, type SecuritySettings } from './security-check.ts';
export { type HostStateDeps, removeHostState } from './teardown.ts';
export { ownVolumeName } from './volumes/index.ts';
