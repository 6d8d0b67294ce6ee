/**
 * Platforms of images: os/architecture[/variant] in the words of the OCI image index. Pure; accepts hostile input.
 * Source: opencontainers/image-spec image-index.md and config.md; Go's GOARCH.
 */
import { ImagePullError } from '../interface.ts';

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** v7, v8 …; undefined: whatever there is. */
  readonly variant?: string | undefined;
}

/** Node's word for a processor → the registries' one, where they differ. */
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', loong64: 'loong64' };
/** A processor's image, and what else such a machine runs by itself. */
const alsoRuns: Readonly<Record<string, readonly string[]>> = { amd64: ['386'], arm64: ['arm'] };

/** `nodeArch`: process.arch. */
export function hostPlatform(nodeArch: string): Platform {
  return { os: 'linux', architecture: architectures[nodeArch] ?? nodeArch };
}

/** Throws ImagePullError of kind 'invalid-name' that names the image. */
export function parsePlatform(image: string, text: string): Platform {
  const [, os, architecture, variant] =
    /^([a-z0-9]{1,32})\/([a-z0-9_]{1,32})(?:\/([a-z0-9.]{1,32}))?$/.exec(text) ?? [];
  if (os === undefined || architecture === undefined) {
    throw new ImagePullError(image, {
      kind: 'invalid-name',
      what: `"${text.slice(0, 80)}" is not a platform`,
      fix: 'write it like linux/amd64, linux/arm64 or linux/arm/v7',
    });
  }
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');
}

/** Whether an image serves one who asked for `wanted`. What it does not say of itself does not speak against it. */
export function isFor(image: Partial<Platform>, wanted: Platform): boolean {
  if (image.os !== undefined && image.os !== wanted.os) return false;
  if (image.architecture !== undefined && image.architecture !== wanted.architecture) return false;
  return wanted.variant === undefined || image.variant === undefined || image.variant === wanted.variant;
}

/** Whether a machine runs it by itself, without an emulator. */
export function runsOn(image: Partial<Platform>, host: Platform): boolean {
  if (isFor(image, { os: host.os, architecture: host.architecture })) return true;
  const others = alsoRuns[host.architecture] ?? [];
  return others.some((architecture) => isFor(image, { os: host.os, architecture }));
}

/** Whether two say the same, as far as a registry is asked for one. */
export function isSame(one: Platform, other: Platform): boolean {
  return formatPlatform(one) === formatPlatform(other);
}
