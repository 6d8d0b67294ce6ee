/** What is asked for: an image by its reference, for a platform, and the name under which the store knows it. Pure. */
import { createHash } from 'node:crypto';
import { formatPlatform, isFor, isSame, type Platform, parsePlatform, runsOn } from './platform.ts';
import { type ImageReference, ownRepository, parseReference } from './reference.ts';

export interface Wanted {
  readonly reference: ImageReference;
  /** undefined: whatever runs here. */
  readonly platform: Platform | undefined;
  /** Under which the store knows it. */
  readonly name: string;
  /** What people call it. */
  readonly title: string;
  /** Whether it is known by its title later, from holdfast-archives.json. */
  readonly isRecorded: boolean;
}

/** `host`: this machine's platform, which is the same as none. Throws ImagePullError of kind 'invalid-name'. */
export function parseWanted(text: string, platformText: string | undefined, host: Platform): Wanted {
  const reference = parseReference(text);
  const platform = platformText === undefined ? undefined : parsePlatform(text, platformText);
  const isForHost = platform === undefined || isSame(platform, host);
  const title = isForHost ? reference.canonical : `${reference.canonical} (${formatPlatform(platform)})`;
  const isRecorded = !isForHost || reference.kind === 'archive';
  return { reference, platform, name: isRecorded ? ownName(title) : reference.canonical, title, isRecorded };
}

/** What an import wants: a part of an archive, under a name of its own. */
export function wantImport(reference: ImageReference, name: string, title: string): Wanted {
  return { reference, platform: undefined, name, title, isRecorded: false };
}

/** A name that only the store sees; `title` is what it stands for. */
export function ownName(title: string): string {
  return `${ownRepository}:${createHash('sha256').update(title).digest('hex')}`;
}

export function isOwn(name: string): boolean {
  return name.startsWith(`${ownRepository}:`);
}

/** Why an image is none for this platform, in words that follow its name; undefined: it is one. */
export function describeMisfit(
  image: Partial<Platform>,
  wanted: Platform | undefined,
  host: Platform,
): string | undefined {
  if (wanted === undefined ? runsOn(image, host) : isFor(image, wanted)) return undefined;
  const { os = '?', architecture = '?', variant } = image;
  const built = formatPlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
  return wanted === undefined
    ? `it is built for ${built}, and this machine is ${formatPlatform(host)}`
    : `it is built for ${built}, and not for ${formatPlatform(wanted)}`;
}
