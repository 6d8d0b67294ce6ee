/**
 * Where everything lies. Pure. What must survive a reboot is below dataDir, what must not is below runDir; this is the
 * only place that knows the names.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { ContainerID } from './interface.ts';

export interface LayoutInput {
  /** Survives a reboot. */
  readonly dataDir: string;
  /** tmpfs: gone after a reboot. */
  readonly runDir: string;
  readonly bridge: string;
}

/** Files of one container. */
export interface ContainerPaths {
  /** Survives a reboot: record, last run, upper layer, logs. */
  readonly home: string;
  readonly record: string;
  readonly lastRun: string;
  readonly upper: string;
  readonly work: string;
  /** Says that its volumes were filled from its image. */
  readonly volumesFilled: string;
  readonly logDir: string;
  readonly log: string;
  /** Gone after a reboot: bundle, monitor's files, network. */
  readonly bundle: string;
  readonly rootfs: string;
  /** Says that what is mounted as the root is of no use any more. */
  readonly staleRoot: string;
  /** Of a container that has a user namespace of its own. */
  readonly userNamespace: string;
  readonly ociConfig: string;
  readonly pidFile: string;
  readonly monitorPidFile: string;
  readonly monitorLog: string;
  readonly runtimeLog: string;
  readonly ctl: string;
  /** Another, for sizes of the terminal. */
  readonly winsz: string;
  readonly exit: string;
  readonly oom: string;
  /** Says that a monitor is being started; there until `process` is. */
  readonly starting: string;
  readonly process: string;
  readonly network: string;
  readonly hosts: string;
  readonly hostname: string;
  readonly resolvConf: string;
  /** Mounts of its volumes, gone after a reboot: those in memory by their names, and parts of others. */
  readonly volumesRun: string;
  readonly volumesMemory: string;
  readonly volumesParts: string;
  /** The OCI runtime's own state. */
  readonly ociState: string;
  /** In the bundle: links to its files. */
  readonly ociStateCopy: string;
  readonly execFifo: string;
}

export interface Layout {
  readonly dataDir: string;
  readonly runDir: string;
  readonly bridge: string;
  readonly containers: string;
  readonly trash: string;
  /** Named volumes; a folder in it holds the own volumes of containers. */
  readonly volumes: string;
  readonly ownVolumes: string;
  /** Mounts of volumes: memory, files, parts of volumes; a folder for each container. */
  readonly volumesRun: string;
  readonly images: string;
  readonly imagesRun: string;
  readonly bundles: string;
  readonly ociRoot: string;
  readonly exits: string;
  readonly netns: string;
  readonly pool: string;
  readonly addresses: string;
  readonly shortLinks: string;
  /** Folders of sessions that are beginning; none outlives a daemon. */
  readonly sessions: string;
  /** Of the resolver: names and addresses, and what it said when it could not run. */
  readonly resolver: {
    readonly dir: string;
    readonly names: string;
    readonly localNames: string;
    readonly errors: string;
  };
  readonly seccompCache: string;
  /** Profiles that the host's keeper put there. */
  readonly seccompProfiles: string;
  readonly bootID: string;
  /** Which instance the run dir belongs to. */
  readonly owner: string;
  /** Parent of all our cgroups, as in linux.cgroupsPath. */
  readonly cgroupParent: string;
  readonly nftTable: string;
  container(id: ContainerID): ContainerPaths;
}

/** Throws TypeError for a bridge name that the kernel, nft or a path could not take. */
export function createLayout({ dataDir, runDir, bridge }: LayoutInput): Layout {
  if (!/^[A-Za-z][A-Za-z0-9_.-]{0,14}$/.test(bridge)) {
    throw new TypeError(`"${bridge}" cannot be a bridge's name; use a letter and up to 14 letters, digits, _ . or -`);
  }
  const containers = join(dataDir, 'containers');
  const bundles = join(runDir, 'containers');
  const ociRoot = join(runDir, 'oci');
  const volumesRun = join(runDir, 'volumes');
  const resolver = join(runDir, 'resolver');
  return {
    dataDir,
    runDir,
    bridge,
    containers,
    bundles,
    ociRoot,
    trash: join(dataDir, 'trash'),
    volumes: join(dataDir, 'volumes'),
    ownVolumes: join(dataDir, 'volumes', '.own'),
    volumesRun,
    images: join(dataDir, 'images'),
    imagesRun: join(runDir, 'images'),
    exits: join(runDir, 'exits'),
    netns: join(runDir, 'netns'),
    pool: join(runDir, 'netns-pool'),
    addresses: join(runDir, 'addresses'),
    shortLinks: join(runDir, 'layers'),
    seccompProfiles: join(dataDir, 'seccomp'),
    seccompCache: join(runDir, 'seccomp-filters'),
    sessions: join(runDir, 'sessions'),
    resolver: {
      dir: resolver,
      names: join(resolver, 'names'),
      localNames: join(resolver, 'local-names'),
      errors: join(resolver, 'errors'),
    },
    bootID: join(runDir, 'boot-id'),
    owner: join(runDir, 'owner.json'),
    cgroupParent: `/holdfast-${bridge}`,
    nftTable: `holdfast_${bridge}`,
    container(id) {
      const home = join(containers, id);
      const bundle = join(bundles, id);
      return {
        home,
        record: join(home, 'record.json'),
        lastRun: join(home, 'last-run.json'),
        upper: join(home, 'upper'),
        work: join(home, 'work'),
        volumesFilled: join(home, 'volumes-filled'),
        logDir: join(home, 'log'),
        log: join(home, 'log', 'ctr.log'),
        bundle,
        rootfs: join(bundle, 'rootfs'),
        staleRoot: join(bundle, 'stale-root'),
        userNamespace: join(bundle, 'user-namespace'),
        ociConfig: join(bundle, 'config.json'),
        pidFile: join(bundle, 'pidfile'),
        monitorPidFile: join(bundle, 'conmon.pid'),
        monitorLog: join(bundle, 'conmon.log'),
        runtimeLog: join(bundle, 'oci.log'),
        ctl: join(bundle, 'ctl'),
        winsz: join(bundle, 'winsz'),
        exit: join(bundle, 'exit'),
        oom: join(bundle, 'oom'),
        starting: join(bundle, 'starting'),
        process: join(bundle, 'process.json'),
        network: join(bundle, 'network.json'),
        hosts: join(bundle, 'hosts'),
        hostname: join(bundle, 'hostname'),
        resolvConf: join(bundle, 'resolv.conf'),
        volumesRun: join(volumesRun, id),
        volumesMemory: join(volumesRun, id, 'memory'),
        volumesParts: join(volumesRun, id, 'parts'),
        ociState: join(ociRoot, id),
        ociStateCopy: join(bundle, 'oci-state'),
        execFifo: join(ociRoot, id, 'exec.fifo'),
      };
    },
  };
}

/** A stable short name for something long, for file names. Pure. */
export function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
