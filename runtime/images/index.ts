/**
 * runtime/images/: the images of this host: references, pulls, archives, and where an image's layers lie.
 * Used by: runtime/, examples/ through it. May import: ../interface.ts, npm. Must not know: containers, Kubernetes.
 */
export { ImageNotPresentError } from '../interface.ts';
export { createImageStore, type ImageStore, type ImageStoreDeps, type PullLimits } from './image-store.ts';
export { imageStoragePaths } from './paths.ts';
export { type ImageReference, parseReference, type RegistryReference } from './reference.ts';
