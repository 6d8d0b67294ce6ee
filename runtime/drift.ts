/**
 * What can be changed behind our back, how each is seen, and what is done about it: the one list of kinds. Pure data.
 * A new kind begins here; the tests walk the list, the metric has a series for each, docs/operations.md a line.
 */

/**
 * put-back: in place; what runs, runs on. restart: the container is ended, if it has not, and started again; its policy is
 * charged only for a process that was killed, which nobody can tell from one that fails.
 */
export type Remedy = 'put-back' | 'restart';

interface KindOfDrift {
  /** Of one container, or of all that this host has. */
  readonly of: 'container' | 'host';
  /** What was found, in the words that an event begins with. */
  readonly what: string;
  readonly seenBy: string;
  readonly remedy: Remedy;
  /** What is done, in words. */
  readonly healedBy: string;
}

/** All looks are those of every 5 s, unless another is named. */
export const driftTable = {
  process: {
    of: 'container',
    what: 'its process was killed by somebody else',
    seenBy: 'an exit by SIGKILL that neither we nor the memory limit sent; at once, by inotify',
    remedy: 'restart',
    healedBy: 'starts it again, as its restart policy says',
  },
  monitor: {
    of: 'container',
    what: 'its monitor was killed, so that nobody would learn how it ends',
    seenBy: "the end of the monitor's pipe at once, or its process at the next look",
    remedy: 'restart',
    healedBy: 'ends the process and starts it again',
  },
  'oci-state': {
    of: 'container',
    what: "the OCI runtime's record of it was removed",
    seenBy: 'a missing file of the state folder',
    remedy: 'put-back',
    healedBy: 'writes the record again from a copy',
  },
  bundle: {
    of: 'container',
    what: 'files of its bundle were removed',
    seenBy: 'a listing of the folder',
    remedy: 'put-back',
    healedBy: 'writes them again; control channels are found at the monitor',
  },
  record: {
    of: 'container',
    what: 'its record on the disk was removed',
    seenBy: 'a listing of the folder',
    remedy: 'put-back',
    healedBy: 'writes it again from memory',
  },
  'root-mount': {
    of: 'container',
    what: 'its root file system was unmounted',
    seenBy: 'the folder is no mount point',
    remedy: 'put-back',
    healedBy: 'mounts what the process has as its root',
  },
  'upper-layer': {
    of: 'container',
    what: 'the folder that holds its changes was removed',
    seenBy: 'the folder is gone, or another',
    remedy: 'restart',
    healedBy: 'restarts it with an empty one',
  },
  'image-layer': {
    of: 'container',
    what: 'a layer of its image was removed',
    seenBy: 'a folder of a layer is gone',
    remedy: 'restart',
    healedBy: 'fetches the image again, then restarts it',
  },
  volume: {
    of: 'container',
    what: 'a volume was taken from it',
    seenBy: 'the folder on the host is not the one that the process sees',
    remedy: 'restart',
    healedBy: 'makes the folder again and restarts it',
  },
  'volume-mount': {
    of: 'container',
    what: 'a volume was unmounted',
    seenBy: 'the folder on the host, or in the container, is not the one that the other side has',
    remedy: 'put-back',
    healedBy: 'mounts it again from the side that has it',
  },
  namespace: {
    of: 'container',
    what: 'the file that holds its network or user namespace was unmounted',
    seenBy: 'the file is no mount point',
    remedy: 'put-back',
    healedBy: "binds the process's namespace again",
  },
  cable: {
    of: 'container',
    what: 'its network cable was removed, unplugged or switched off',
    seenBy: 'the interface on the host, and the routes in the container',
    remedy: 'put-back',
    healedBy: 'makes a cable with the same addresses and plugs it in',
  },
  limits: {
    of: 'container',
    what: 'its limits were changed',
    seenBy: 'the control files of its cgroup',
    remedy: 'put-back',
    healedBy: 'writes them again',
  },
  pause: {
    of: 'container',
    what: 'its processes were frozen or thawed',
    seenBy: 'the state of its cgroup',
    remedy: 'put-back',
    healedBy: 'thaws or freezes them, as the spec says',
  },
  'etc-file': {
    of: 'container',
    what: 'a file that it has from us under /etc was changed',
    seenBy: 'its content, and whether the process still has this very file',
    remedy: 'put-back',
    healedBy: 'writes it again, and mounts it if need be',
  },
  log: {
    of: 'container',
    what: 'its log was removed',
    seenBy: 'the file is gone',
    remedy: 'put-back',
    healedBy: 'has the monitor open a new one, and saves the lines of the old one',
  },
  bridge: {
    of: 'host',
    what: 'the bridge was removed, switched off or lost its address',
    seenBy: 'the interface and its route',
    remedy: 'put-back',
    healedBy: 'makes it again and plugs the containers in',
  },
  rules: {
    of: 'host',
    what: 'rules of nftables were flushed, or their table was deleted',
    seenBy: "the kernel's count of changes to nftables, then the table",
    remedy: 'put-back',
    healedBy: 'makes the tables again',
  },
  'published-port': {
    of: 'host',
    what: 'published ports were taken out of the nftables maps, or strange ones put in',
    seenBy: "the kernel's count of changes to nftables, then the table",
    remedy: 'put-back',
    healedBy: 'makes the tables again',
  },
  firewall: {
    of: 'host',
    what: "the rules that let the bridge through the host's firewall were removed",
    seenBy: "the kernel's count of changes to nftables, then iptables",
    remedy: 'put-back',
    healedBy: 'puts them in again',
  },
  forwarding: {
    of: 'host',
    what: 'forwarding of packets was switched off',
    seenBy: 'the settings of the kernel',
    remedy: 'put-back',
    healedBy: 'switches it on',
  },
  resolver: {
    of: 'host',
    what: 'the resolver of container names was killed',
    seenBy: 'its end at once, or its process at the next look',
    remedy: 'put-back',
    healedBy: 'starts it again',
  },
  'run-dir': {
    of: 'host',
    what: 'folders of the run dir were removed',
    seenBy: 'a folder is gone',
    remedy: 'put-back',
    healedBy: 'makes them again, and watches for exits anew',
  },
} as const satisfies Readonly<Record<string, KindOfDrift>>;

export type DriftKind = keyof typeof driftTable;

export const driftKinds = Object.keys(driftTable) as readonly DriftKind[];

/** Something that was found changed, once what can be done at once was done. */
export interface Drift {
  readonly kind: DriftKind;
  /** undefined: it is the host's. */
  readonly containerID?: string | undefined;
  /** What in particular; no secret is in it. */
  readonly detail?: string | undefined;
}

/** Of a container that runs on, but not as it should, and whom only a restart can help. */
export interface Damage {
  readonly kind: DriftKind;
  readonly detail: string;
}

/** For people: what was found and what is done. */
export function describeDrift({ kind, detail }: Pick<Drift, 'kind' | 'detail'>): string {
  const { what, healedBy } = driftTable[kind];
  return `${what}${detail === undefined ? '' : ` (${detail})`}; Holdfast ${healedBy}`;
}
