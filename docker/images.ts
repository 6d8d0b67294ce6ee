/** Images of this host: listed, shown, named, removed. Effects; what is shown and what goes is decided in files of their own. */
import { type ImageDescription, ImageInUseError, type Images } from '../runtime/index.ts';
import { badParameter, conflict } from './docker-error.ts';
import { parseFilters } from './filters.ts';
import { imageErrorOf } from './image-errors.ts';
import { filterImages, filterPruned, listFilters, pruneFilters } from './image-filters.ts';
import { findImage } from './image-find.ts';
import { formatFamiliar, joinImageName, namesOf } from './image-reference.ts';
import { decideRemoval, deletedOf, type ImageUser } from './image-removal.ts';
import { formatImageHistory, formatImageInspect, formatImageSummary, sumLayers } from './image-view.ts';
import { booleanOf, type Call, type Route } from './route.ts';

export interface ImageEvent {
  readonly Type: 'image';
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
}

export interface ImageDeps {
  readonly images: Images;
  /** The containers of this host that have an image. */
  readonly users: () => readonly ImageUser[];
  readonly emit: (event: ImageEvent) => void;
  readonly now: () => number;
}

export function imageRoutes(deps: ImageDeps): readonly Route[] {
  const { images } = deps;
  const describe = async (call: Call): Promise<ImageDescription> => {
    const { info } = await findImage(images, call.params.name ?? '');
    const [image] = await describeAll(images, [info.id]);
    return image ?? Promise.reject(new Error(`the image ${info.id} is not whole; pull it again`));
  };
  return [
    { method: 'GET', path: '/images/json', handle: (call) => list(deps, call) },
    {
      method: 'GET',
      path: '/images/{name...}/json',
      handle: async (call) => call.json(200, formatImageInspect(await describe(call), call)),
    },
    {
      method: 'GET',
      path: '/images/{name...}/history',
      handle: async (call) => call.json(200, formatImageHistory(await describe(call))),
    },
    { method: 'POST', path: '/images/{name...}/tag', handle: (call) => tag(deps, call) },
    { method: 'POST', path: '/images/prune', handle: (call) => prune(deps, call) },
    { method: 'DELETE', path: '/images/{name...}', handle: (call) => remove(deps, call) },
  ];
}

/** All images, or those of these ids. What vanishes meanwhile, or is damaged, is left out. */
export async function describeAll(
  images: Pick<Images, 'list' | 'describe'>,
  ids?: readonly string[],
): Promise<readonly ImageDescription[]> {
  const chosen = ids ?? (await images.list()).map(({ id }) => id);
  const described = await Promise.all(chosen.map((id) => images.describe(id)));
  return described.filter((image) => image !== undefined);
}

export function tellOfImage(deps: Pick<ImageDeps, 'emit'>, Action: string, ID: string, name: string): void {
  deps.emit({ Type: 'image', Action, Actor: { ID, Attributes: { name } } });
}

async function list({ images, now }: ImageDeps, call: Call): Promise<void> {
  const filters = new Map(parseFilters(call.query, listFilters));
  // Before 1.41 the name to look for was a parameter of its own.
  const ofOld = call.query.get('filter');
  if (ofOld !== null && ofOld !== '') filters.set('reference', [...(filters.get('reference') ?? []), ofOld]);
  const all = await describeAll(images);
  const timeOf = async (name: string): Promise<number | undefined> => {
    const [reference] = filters.get(name) ?? [];
    if (reference === undefined) return undefined;
    const { id } = (await findImage(images, reference)).info;
    return all.find((image) => image.id === id)?.createdAtMs ?? 0;
  };
  const [beforeMs, sinceMs] = [await timeOf('before'), await timeOf('since')];
  const listed = filterImages({ images: all, filters, beforeMs, sinceMs, nowMs: now() });
  const shared = booleanOf(call.query, 'shared-size') ? sumLayers(all).sharedBytes : undefined;
  call.json(
    200,
    listed.map(({ image, tags }) =>
      formatImageSummary(image, { version: call.version, tags, sharedBytes: shared?.get(image.id) }),
    ),
  );
}

async function tag(deps: ImageDeps, call: Call): Promise<void> {
  const { info } = await findImage(deps.images, call.params.name ?? '');
  const target = joinImageName(call.query.get('repo') ?? '', call.query.get('tag') ?? '');
  if (target.digest !== undefined) throw badParameter('refusing to create a tag with a digest reference');
  await deps.images.tag(info.id, target.canonical).catch((error: unknown) => {
    throw imageErrorOf(error);
  });
  tellOfImage(deps, 'tag', info.id, formatFamiliar(target.canonical));
  call.empty(201);
}

async function remove(deps: ImageDeps, call: Call): Promise<void> {
  const { info, name } = await findImage(deps.images, call.params.name ?? '');
  const { items } = await carryOutRemoval(deps, { id: info.id, name, isForced: booleanOf(call.query, 'force') });
  call.json(200, items);
}

type RemovalItem = { readonly Untagged: string } | { readonly Deleted: string };

/** Throws DockerError for a conflict. */
async function carryOutRemoval(
  deps: ImageDeps,
  { id, name, isForced }: { readonly id: string; readonly name: string | undefined; readonly isForced: boolean },
): Promise<{ readonly items: readonly RemovalItem[]; readonly freedBytes: number }> {
  const { images } = deps;
  const all = await describeAll(images);
  const image = all.find((one) => one.id === id);
  if (image === undefined) return { items: [], freedBytes: 0 }; // somebody else has just removed it
  const users = deps.users().filter(({ imageID }) => imageID === id);
  const removal = decideRemoval({ image, name, isForced, users });
  switch (removal.kind) {
    case 'conflict':
      throw conflict(removal.message);
    case 'untag': {
      for (const one of removal.names) await images.untag(one);
      for (const one of removal.untagged) tellOfImage(deps, 'untag', id, one);
      return { items: removal.untagged.map((Untagged) => ({ Untagged })), freedBytes: 0 };
    }
    case 'remove': {
      await images.remove(id).catch((error: unknown) => {
        throw error instanceof ImageInUseError ? conflict(error.message) : error;
      });
      const { deleted, freedBytes } = deletedOf(
        image,
        all.filter((one) => one.id !== id),
      );
      for (const one of removal.untagged) tellOfImage(deps, 'untag', id, one);
      tellOfImage(deps, 'delete', id, id);
      const untagged = removal.untagged.map((Untagged) => ({ Untagged }));
      return { items: [...untagged, ...deleted.map((Deleted) => ({ Deleted }))], freedBytes };
    }
    default:
      throw new TypeError(`unknown removal: ${JSON.stringify(removal satisfies never)}`);
  }
}

async function prune(deps: ImageDeps, call: Call): Promise<void> {
  const filters = parseFilters(call.query, pruneFilters);
  const used = new Set(deps.users().map(({ imageID }) => imageID));
  const chosen = filterPruned(await describeAll(deps.images), { filters, used, nowMs: deps.now() });
  const items: RemovalItem[] = [];
  let freedBytes = 0;
  for (const image of chosen) {
    call.signal.throwIfAborted();
    try {
      const { tags, digests } = namesOf(image);
      const removed = await carryOutRemoval(deps, {
        id: image.id,
        name: undefined,
        isForced: tags.length + digests.length > 1,
      });
      items.push(...removed.items);
      freedBytes += removed.freedBytes;
    } catch (error) {
      if (!(error instanceof Error && 'status' in error && error.status === 409)) throw error; // somebody has just taken it
    }
  }
  call.json(200, { ImagesDeleted: items.length === 0 ? null : items, SpaceReclaimed: freedBytes });
}
