/** Which image a user means: by its name, by its id, or by the beginning of its id. */
import { type ImageInfo, ImagePullError, type Images } from '../runtime/index.ts';
import { type DockerError, notFound } from './docker-error.ts';
import { formatFamiliar, parseImageName } from './image-reference.ts';

export interface FoundImage {
  readonly info: ImageInfo;
  /** The name by which it was meant, canonical; undefined: it was meant by its id. */
  readonly name: string | undefined;
}

/** In Docker's order. Throws DockerError. Source: moby daemon/images/image.go, GetImage. */
export async function findImage(images: Pick<Images, 'list' | 'inspect'>, reference: string): Promise<FoundImage> {
  const all = await images.list();
  const found = findAmong(all, reference);
  if (found !== undefined) return found;
  const { canonical, digest } = parseImageName(reference);
  // By the digest of its manifest it is known to the runtime alone.
  const info = digest === undefined ? undefined : await images.inspect(canonical).catch(ignoreInvalidName);
  if (info === undefined) throw noSuchImage(reference);
  return { info, name: canonical };
}

/** Pure. Throws DockerError for what is no reference; undefined: there is none. */
export function findAmong(all: readonly ImageInfo[], reference: string): FoundImage | undefined {
  const whole = /^(?:sha256:)?([0-9a-f]{64})$/.exec(reference)?.[1];
  if (whole !== undefined) {
    const info = all.find(({ id }) => id === `sha256:${whole}`);
    return info === undefined ? undefined : { info, name: undefined };
  }
  const begun = /^(?:sha256:)?([0-9a-f]{1,64})$/.exec(reference)?.[1];
  const name = reference.startsWith('sha256:') ? undefined : parseImageName(reference).canonical;
  const named = name === undefined ? undefined : all.find(({ names }) => names.includes(name));
  if (named !== undefined) return { info: named, name };
  const beginning = begun === undefined ? [] : all.filter(({ id }) => id.startsWith(`sha256:${begun}`));
  const [only, other] = beginning;
  return only === undefined || other !== undefined ? undefined : { info: only, name: undefined };
}

export function noSuchImage(reference: string): DockerError {
  const isID = /^(?:sha256:)?[0-9a-f]{64}$|^sha256:/.test(reference);
  return notFound(`No such image: ${isID ? reference : formatFamiliar(parseImageName(reference).canonical)}`);
}

function ignoreInvalidName(error: unknown): undefined {
  if (!(error instanceof ImagePullError)) throw error;
}
