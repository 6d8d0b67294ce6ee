/**
 * The range of user and group ids of the host that a container in a user namespace of its own has: its root is the
 * first of them. Kept with the container, so that files keep their owners. Pure.
 * Source: subuid(5); the default range is one that systemd's UIDS-GIDS document leaves unused.
 */
import { ContainerConfigError, type ContainerID } from './interface.ts';

export interface IdMap {
  /** The id on the host of the container's id 0. */
  readonly hostID: number;
  readonly size: number;
}

/** As many as an image may use: 0 to 65535, nobody included. */
const size = 65_536;
const defaultRange = { first: 1_879_048_192, last: 2_147_352_575 };
const fileOwner = 'holdfast';

interface Range {
  readonly first: number;
  readonly last: number;
}

function parseRanges(text: string): Range[] {
  return text.split('\n').flatMap((line) => {
    const [owner, first, count, ...more] = line.trim().split(':');
    if (owner !== fileOwner || more.length > 0) return [];
    if (!/^[0-9]{1,10}$/.test(first ?? '') || !/^[0-9]{1,10}$/.test(count ?? '')) return [];
    return [{ first: Number(first), last: Number(first) + Number(count) - 1 }];
  });
}

/** Where ranges may lie, by the texts of /etc/subuid and /etc/subgid: what both give to "holdfast", else the default. */
export function parseSubordinateRanges(subuid: string, subgid: string): readonly Range[] {
  const users = parseRanges(subuid);
  const groups = parseRanges(subgid);
  if (users.length === 0 && groups.length === 0) return [defaultRange];
  return users.flatMap((user) =>
    groups
      .map((group) => ({ first: Math.max(user.first, group.first), last: Math.min(user.last, group.last) }))
      .filter(({ first, last }) => last - first + 1 >= size),
  );
}

/**
 * A range that no other container of this instance has. Where the search begins comes from the container's id, so that
 * instances which know nothing of each other seldom meet. Throws ContainerConfigError when all are taken.
 */
export function decideIdMap(input: {
  readonly ranges: readonly Range[];
  readonly taken: readonly IdMap[];
  readonly id: ContainerID;
}): IdMap {
  const slots = input.ranges.map(({ first, last }) => Math.floor((last - first + 1) / size));
  const total = slots.reduce((sum, count) => sum + count, 0);
  const isFree = ({ hostID }: IdMap): boolean =>
    input.taken.every((other) => hostID + size <= other.hostID || other.hostID + other.size <= hostID);
  const begin = total === 0 ? 0 : Number.parseInt(input.id.slice(0, 12), 16) % total;
  for (let step = 0; step < total; step += 1) {
    let slot = (begin + step) % total;
    for (const [index, { first }] of input.ranges.entries()) {
      const count = slots[index] ?? 0;
      if (slot < count) {
        const candidate = { hostID: first + slot * size, size };
        if (isFree(candidate)) return candidate;
        break;
      }
      slot -= count;
    }
  }
  throw new ContainerConfigError(
    'namespaces.user',
    `there are no ${size} ids left for it: /etc/subuid and /etc/subgid give "${fileOwner}" room for ${total} containers; give it more`,
  );
}
