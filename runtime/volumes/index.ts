/**
 * runtime/volumes/: what is mounted into containers beside their root: named and own volumes, memory, files, paths of
 * the host. Used by: runtime/. May import: runtime/. Must not know: images, networks, the OCI runtime.
 */

export { mergeMounts } from './oci-mounts.ts';
export { planMounts } from './plan-mounts.ts';
export { dropVolumes, prepareMounts, type VolumeDeps, writeFiles } from './prepare-mounts.ts';
export { ownVolumeName, VolumeStore, type VolumeStoreDeps } from './volume-store.ts';
