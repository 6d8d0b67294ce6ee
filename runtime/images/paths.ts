/** Where an instance keeps its images. Pure. One place, so that an importer beside the daemon finds the same store. */
import { join } from 'node:path';

/** `dataDir` survives a reboot, `runDir` is on a tmpfs. */
export function imageStoragePaths(dirs: { readonly dataDir: string; readonly runDir: string }): {
  readonly root: string;
  readonly runRoot: string;
} {
  return { root: join(dirs.dataDir, 'images'), runRoot: join(dirs.runDir, 'images') };
}
