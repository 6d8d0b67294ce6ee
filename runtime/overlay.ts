/**
 * Root file systems: a container's own upper folder over the layers of its image, by the kernel's overlayfs.
 * The choice of mount options is pure; the rest makes folders and mounts. Source: Linux, filesystems/overlayfs.rst.
 */
import { mkdirSync, statSync } from 'node:fs';
import { chown, mkdir, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { IdMap } from './id-map.ts';
import { RuntimeOperationError } from './interface.ts';
import { shortHash } from './layout.ts';
import { errnos, SyscallError, type Syscalls } from './syscalls.ts';

/** The kernel takes one page of options; this leaves room for upperdir and workdir. */
const maxLowerBytes = 3_000;

function escapeOption(path: string): string {
  return path.replace(/[\\:,]/g, '\\$&');
}

export interface OverlayInput {
  /** Topmost first, absolute. */
  readonly layers: readonly string[];
  readonly upper: string;
  readonly work: string;
}

export interface OverlayOptions {
  readonly data: string;
  /** Links to make in a folder that the mount is relative to: link 0 leads to the first layer, and so on. */
  readonly shortLinks: readonly string[];
}

/** Pure: mount options, with the layers named by short links when their paths together are too long. */
export function decideOverlayOptions({ layers, upper, work }: OverlayInput): OverlayOptions {
  const direct = layers.map(escapeOption).join(':');
  const needsLinks = Buffer.byteLength(direct) > maxLowerBytes;
  const lower = needsLinks ? layers.map((_, index) => index.toString(36)).join(':') : direct;
  return {
    data: `lowerdir=${lower},upperdir=${escapeOption(upper)},workdir=${escapeOption(work)}`,
    shortLinks: needsLinks ? layers : [],
  };
}

export interface OverlayRequest extends OverlayInput {
  readonly target: string;
  /** Folder for folders of short links. */
  readonly linksDir: string;
  readonly syscalls: Syscalls;
  /** Of which the layers have their ids; the upper folder's are the host's. */
  readonly userNamespace?: { readonly path: string; readonly idMap: IdMap } | undefined;
}

/** Whether something is mounted at the folder: its file system differs from its parent's. */
export function isMountPoint(path: string): boolean {
  try {
    return statSync(path).dev !== statSync(dirname(path)).dev;
  } catch {
    return false; // no folder, no mount
  }
}

/** Mounts the root; nothing to do if it is mounted already. */
export async function mountOverlay(request: OverlayRequest): Promise<void> {
  const { target, linksDir, syscalls } = request;
  mkdirSync(target, { recursive: true });
  if (isMountPoint(target)) return;
  if (request.userNamespace !== undefined) return mountMapped(request, request.userNamespace);
  const { data, shortLinks } = decideOverlayOptions(request);
  const relativeTo = shortLinks.length === 0 ? '/' : join(linksDir, shortHash(shortLinks.join(':')));
  if (shortLinks.length > 0) {
    await mkdir(relativeTo, { recursive: true });
    for (const [index, layer] of shortLinks.entries()) {
      await symlink(layer, join(relativeTo, index.toString(36))).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error; // the folder's name is a hash of the links, so it is the same link
      });
    }
  }
  await syscalls.mount({ source: 'overlay', target, type: 'overlay', data, relativeTo });
}

async function mountMapped(
  { layers, upper, work, target, linksDir, syscalls }: OverlayRequest,
  { path, idMap }: NonNullable<OverlayRequest['userNamespace']>,
): Promise<void> {
  // The root folder of the overlay has the upper one's owner.
  await chown(upper, idMap.hostID, idMap.hostID);
  const scratch = join(linksDir, 'scratch');
  await mkdir(scratch, { recursive: true });
  const options = `upperdir=${escapeOption(upper)},workdir=${escapeOption(work)}`;
  try {
    await syscalls.mountMappedOverlay({ userNamespace: path, scratch, target, options, layers });
  } catch (error) {
    if (!(error instanceof SyscallError) || error.errno !== errnos.EINVAL) throw error;
    throw new RuntimeOperationError(
      'mount',
      `this host cannot show an image with other ids (${error.message}); it takes Linux 5.19 and images on ext4, xfs or btrfs, or a container without a user namespace of its own`,
      { cause: error },
    );
  }
}
