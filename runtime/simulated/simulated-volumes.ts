/** Volumes that exist in memory only, by their names; a container's own are not among them. */
import { type VolumeInfo, VolumeInUseError, type Volumes } from '../interface.ts';

export function createSimulatedVolumes({
  now,
  usersOf,
}: {
  readonly now: () => number;
  readonly usersOf: (name: string) => readonly string[];
}): Volumes {
  const volumes = new Map<string, Omit<VolumeInfo, 'usedBy'>>();
  const infoOf = (volume: Omit<VolumeInfo, 'usedBy'>): VolumeInfo => ({ ...volume, usedBy: usersOf(volume.name) });
  const remove = async (name: string): Promise<void> => {
    const users = usersOf(name);
    if (users.length > 0) throw new VolumeInUseError(`volume ${name} is used by ${users.join(', ')}`);
    volumes.delete(name);
  };
  return {
    create: async (name, labels) => {
      const made = volumes.get(name) ?? { name, labels, createdAtMs: now(), path: `/simulated/volumes/${name}` };
      volumes.set(name, made);
      return infoOf(made);
    },
    list: async () => [...volumes.values()].map(infoOf),
    inspect: async (name) => {
      const volume = volumes.get(name);
      return volume === undefined ? undefined : infoOf(volume);
    },
    usage: async () => 0,
    remove,
    prune: async (isChosen) => {
      const chosen = [...volumes.values()].map(infoOf).filter((one) => one.usedBy.length === 0 && isChosen(one));
      for (const { name } of chosen) await remove(name);
      return chosen.map(({ name }) => name);
    },
  };
}
