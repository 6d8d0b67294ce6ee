/** Images as containers refer to them. Effects: reads the host's images, each at most once for a request. */
import type { Container } from '../crds/index.ts';
import { type ImageInfo, ImagePullError, type Runtime } from '../runtime/index.ts';
import { badParameter } from './docker-error.ts';
import { findAmong } from './image-find.ts';
import { imageAsWritten } from './inspect.ts';

export interface FoundImage {
  readonly info: ImageInfo;
  /** What a spec says for it. */
  readonly reference: string;
}

export interface ImageLookup {
  /** By name, id, or the beginning of an id; undefined: it is not on this host. Throws DockerError for what is no reference. */
  find(reference: string, platform: string | undefined): Promise<FoundImage | undefined>;
  /** Of a container; undefined: it is not on this host any more. */
  of(object: Container): Promise<ImageInfo | undefined>;
}

export function createImageLookup({ images }: Pick<Runtime, 'images'>): ImageLookup {
  const known = new Map<string, Promise<ImageInfo | undefined>>();
  const inspect = (reference: string, platform?: string): Promise<ImageInfo | undefined> => {
    const key = `${reference} ${platform ?? ''}`;
    let asked = known.get(key);
    if (asked === undefined) {
      asked = images.inspect(reference, platform).catch((error: unknown) => {
        if (error instanceof ImagePullError) throw badParameter(`invalid reference format: ${error.message}`);
        throw error;
      });
      known.set(key, asked);
    }
    return asked;
  };
  return {
    find: async (reference, platform) => {
      const named = await inspect(reference, platform);
      // The beginning of an id is for people alone: the runtime takes whole ones.
      const info = named ?? (isBegunID(reference) ? findAmong(await images.list(), reference)?.info : undefined);
      if (info === undefined) return undefined;
      const isID = isBegunID(reference) && info.id.includes(reference.replace(/^sha256:/, ''));
      return { info, reference: isID ? (info.names[0] ?? info.id) : reference };
    },
    of: async (object) => {
      const id = object.status?.imageID;
      const byID = id === undefined ? undefined : await inspect(id);
      return byID ?? (await inspect(imageAsWritten(object)).catch(() => undefined)); // what cannot be read is not there
    },
  };
}

function isBegunID(reference: string): boolean {
  return /^(sha256:)?[0-9a-f]{1,64}$/.test(reference);
}
