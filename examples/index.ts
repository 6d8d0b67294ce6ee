/**
 * examples/: spec documents of real systems, and how their images are made from Debian's packages.
 * Used by: make images, make up, test/. May import: runtime/index.ts, npm. Must not know: store, controller.
 */

export { writeBusyboxRoot } from './busybox-root.ts';
export { type ArchiveFormat, type ArchiveRequest, type ImageSettings, writeImageArchive } from './image-archive.ts';
export type { ImageRecipe } from './image-recipe.ts';
export {
  type ArchiveBuildRequest,
  type BuildRequest,
  buildExampleImages,
  provideExampleArchive,
} from './import-images.ts';
export { lampImages } from './lamp/images.ts';
export { websiteMonitorImages } from './website-monitor/images.ts';
export { wordpressImages } from './wordpress/images.ts';
