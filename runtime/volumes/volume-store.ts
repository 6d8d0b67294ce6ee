/**
 * The folders of volumes: named ones, and the own ones of containers. A volume is the folder NAME with volume.json and
 * data/ in it; it comes by one rename and goes by one. Effects only; whoever calls holds no lock of ours.
 */

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { readJsonObject, replaceFile } from '../atomic-file.ts';
import type { IdMap } from '../id-map.ts';
import {
  ContainerConfigError,
  type ContainerID,
  type VolumeInfo,
  VolumeInUseError,
  type Volumes,
} from '../interface.ts';
import { KeyedLock } from '../keyed-lock.ts';
import type { Layout } from '../layout.ts';
import { observeMountsWithin, removeTree } from '../remove-tree.ts';
import { observeTreeBytes } from '../tree-size.ts';
import { fillVolume } from './copy-up.ts';
import { imageVolumeName, imageVolumePrefix, normalizeMountPath } from './plan-mounts.ts';

export interface VolumeStoreDeps {
  readonly layout: Layout;
  readonly randomHex: (bytes: number) => string;
  readonly nowMs: () => number;
  /** Names of the containers that have the named volume, or whose own the volume is. */
  readonly usersOf: (volume: { readonly name: string } | { readonly owner: ContainerID }) => readonly string[];
  readonly log: Logger;
}

const nameForm = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/;
const idForm = /^[0-9a-f]{64}$/;

/** Which volume: a named one, or one of a container's own. */
export type VolumeKey = { readonly name: string } | { readonly owner: ContainerID; readonly volume: string };

async function namesIn(dir: string): Promise<string[]> {
  return readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw error;
  });
}

/** By this name an own volume is known to all; once its container is gone it may become a named one of this name. */
function globalName(owner: ContainerID, volume: string): string {
  return createHash('sha256').update(`${owner} ${volume}`).digest('hex');
}

/** The name (VolumeInfo.name) of a container's own volume: one of its configuration, or the one for a path that its image declares. Pure. */
export function ownVolumeName(
  owner: ContainerID,
  of: { readonly volume: string } | { readonly imagePath: string },
): string {
  if ('volume' in of) return globalName(owner, of.volume);
  const path = of.imagePath.startsWith('/') ? of.imagePath : `/${of.imagePath}`;
  return globalName(owner, imageVolumeName(normalizeMountPath(path) ?? path));
}

export class VolumeStore implements Volumes {
  readonly #deps: VolumeStoreDeps;
  readonly #lock = new KeyedLock();

  constructor(deps: VolumeStoreDeps) {
    this.#deps = deps;
  }

  /** Makes our folders, and throws away what was half made. */
  async open(): Promise<void> {
    const { layout } = this.#deps;
    for (const dir of [layout.volumes, layout.ownVolumes, layout.volumesRun]) {
      await mkdir(dir, { recursive: true, mode: 0o700 });
    }
    const owners = (await namesIn(layout.ownVolumes)).map((id) => join(layout.ownVolumes, id));
    for (const dir of [layout.volumes, ...owners]) {
      for (const name of await namesIn(dir)) if (name.startsWith('.new-')) await this.#bury(join(dir, name));
    }
  }

  async create(name: string, labels: Readonly<Record<string, string>>): Promise<VolumeInfo> {
    await this.ensure({ name }, { mode: 0o755, labels });
    const made = await this.inspect(name);
    if (made === undefined) throw new VolumeInUseError(`volume ${name} was removed while it was made; try again`);
    return made;
  }

  async list(): Promise<readonly VolumeInfo[]> {
    const { layout } = this.#deps;
    const infos: (VolumeInfo | undefined)[] = [];
    for (const name of await namesIn(layout.volumes)) if (nameForm.test(name)) infos.push(await this.#read({ name }));
    for (const owner of await this.owners()) {
      for (const volume of await namesIn(join(layout.ownVolumes, owner))) {
        if (!volume.startsWith('.')) infos.push(await this.#read({ owner, volume }));
      }
    }
    return infos.filter((info) => info !== undefined);
  }

  async inspect(name: string): Promise<VolumeInfo | undefined> {
    if (!nameForm.test(name)) return undefined;
    const named = await this.#read({ name });
    if (named !== undefined || !idForm.test(name)) return named;
    return (await this.list()).find((info) => info.name === name);
  }

  async usage(name: string, signal: AbortSignal): Promise<number> {
    const info = await this.inspect(name);
    if (info === undefined) return 0;
    return observeTreeBytes('volume usage', info.path, signal);
  }

  async remove(name: string): Promise<void> {
    const info = await this.inspect(name);
    if (info === undefined) return;
    if (info.owner !== undefined) {
      throw new VolumeInUseError(
        `volume ${name} is an own one of container ${info.owner.slice(0, 12)} and goes with it`,
      );
    }
    await this.#lock.run(name, async () => {
      const users = this.#deps.usersOf({ name });
      if (users.length > 0) {
        throw new VolumeInUseError(`volume ${name} is used by ${users.join(', ')}; remove those containers first`);
      }
      await this.#bury(this.#folderOf({ name }));
    });
  }

  async prune(isChosen: (volume: VolumeInfo) => boolean): Promise<readonly string[]> {
    const removed: string[] = [];
    for (const info of await this.list()) {
      if (info.owner !== undefined || info.usedBy.length > 0 || !isChosen(info)) continue;
      try {
        await this.remove(info.name);
        removed.push(info.name);
      } catch (error) {
        if (!(error instanceof VolumeInUseError)) throw error; // somebody has just come to use it
      }
    }
    return removed;
  }

  /** The folder with the volume's content; makes the volume if it is not there. */
  async ensure(
    key: VolumeKey,
    how: { readonly mode: number; readonly labels?: Readonly<Record<string, string>> },
  ): Promise<string> {
    const folder = this.#folderOf(key);
    return await this.#lock.run('name' in key ? key.name : folder, async () => {
      const data = join(folder, 'data');
      if ((await this.#read(key)) !== undefined) {
        // Removed from under its record: it is an empty volume now.
        if (!existsSync(data)) {
          await mkdir(data, { mode: 0o700 });
          await chmod(data, how.mode);
        }
        return data;
      }
      const { layout, randomHex, nowMs } = this.#deps;
      const parent = 'name' in key ? layout.volumes : join(layout.ownVolumes, key.owner);
      const half = join(parent, `.new-${randomHex(6)}`);
      await mkdir(join(half, 'data'), { recursive: true, mode: 0o700 });
      await chmod(join(half, 'data'), how.mode);
      const record = { version: 1, labels: how.labels ?? {}, createdAtMs: nowMs() };
      await replaceFile(join(half, 'volume.json'), JSON.stringify(record), 'durable');
      await rename(half, folder);
      return data;
    });
  }

  /** Gives an empty volume what the folder of the image has: content, owner and mode. Finishes what a kill cut short. */
  async fill(key: VolumeKey, from: string, idMap: IdMap | undefined, signal: AbortSignal): Promise<void> {
    const folder = this.#folderOf(key);
    await this.#lock.run('name' in key ? key.name : folder, () => fillVolume({ volume: folder, from, idMap, signal }));
  }

  /** Containers that have own volumes, or memory and files mounted, whether they are there or not. */
  async owners(): Promise<readonly ContainerID[]> {
    const { layout } = this.#deps;
    const ids = [...(await namesIn(layout.ownVolumes)), ...(await namesIn(layout.volumesRun))];
    return [...new Set(ids)].filter((id) => idForm.test(id));
  }

  /** For a container that is replaced: says to whoever removes its volumes later, when it is no more, what it wanted. */
  async noteKept(owner: ContainerID, options: { readonly keepsImageVolumes: boolean }): Promise<void> {
    const marker = this.#imageVolumesMarker(owner);
    if (!options.keepsImageVolumes) await rm(marker, { force: true });
    else if (existsSync(dirname(marker))) await writeFile(marker, '');
  }

  /** Whether the container, when it was replaced, wanted the volumes of its image to stay after it. */
  keepsImageVolumes(owner: ContainerID): boolean {
    return existsSync(this.#imageVolumesMarker(owner));
  }

  #imageVolumesMarker(owner: ContainerID): string {
    return join(this.#deps.layout.ownVolumes, owner, '.keeps-image-volumes');
  }

  /** Removes own volumes of a container but those named; volumes of its image may be made into named ones instead. */
  async removeOwn(
    owner: ContainerID,
    options: { readonly except: ReadonlySet<string>; readonly keepsImageVolumes: boolean },
  ): Promise<void> {
    const { layout } = this.#deps;
    const dir = join(layout.ownVolumes, owner);
    for (const volume of await namesIn(dir)) {
      if (options.except.has(volume) || volume.startsWith('.')) continue;
      const folder = join(dir, volume);
      if (options.keepsImageVolumes && volume.startsWith(imageVolumePrefix)) {
        await rename(folder, join(layout.volumes, globalName(owner, volume)));
      } else {
        await this.#bury(folder);
      }
    }
    if (options.except.size === 0) await this.#bury(dir);
  }

  #folderOf(key: VolumeKey): string {
    const { layout } = this.#deps;
    if ('owner' in key) return join(layout.ownVolumes, key.owner, key.volume);
    if (!nameForm.test(key.name)) {
      throw new ContainerConfigError(
        'volumes',
        `"${key.name}" cannot be a volume's name; use up to 255 letters, digits, _ . and -, with a letter or digit first`,
      );
    }
    return join(layout.volumes, key.name);
  }

  async #read(key: VolumeKey): Promise<VolumeInfo | undefined> {
    const folder = this.#folderOf(key);
    const record = await readJsonObject(join(folder, 'volume.json'));
    const path = join(folder, 'data');
    if (record === undefined) {
      // Made by hand, or its record was lost in a power failure: what it holds counts all the same.
      const stats = await stat(path).catch(() => undefined); // not there
      if (stats?.isDirectory() !== true) return undefined;
    }
    const { usersOf } = this.#deps;
    return {
      name: 'name' in key ? key.name : globalName(key.owner, key.volume),
      labels: parseLabels(record?.labels),
      createdAtMs: typeof record?.createdAtMs === 'number' ? record.createdAtMs : 0,
      path,
      ...('owner' in key ? { owner: key.owner } : {}),
      usedBy: usersOf('name' in key ? { name: key.name } : { owner: key.owner }),
    };
  }

  /** One rename takes it out of the world; deleting what may be large comes after. */
  async #bury(folder: string): Promise<void> {
    const { layout, randomHex, log } = this.#deps;
    const [mounted] = await observeMountsWithin(folder);
    if (mounted !== undefined) {
      throw new VolumeInUseError(
        `the volume in ${folder} is not removed, since ${mounted} is mounted; unmount it first`,
      );
    }
    const grave = join(layout.trash, `volume-${randomHex(6)}`);
    try {
      await rename(folder, grave);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
      throw error;
    }
    await removeTree(grave).catch((error: unknown) =>
      log.warn({ err: error }, 'a removed volume is deleted at the next start of the daemon'),
    );
  }
}

function parseLabels(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(Object.entries(value).filter(([, text]) => typeof text === 'string'));
}
