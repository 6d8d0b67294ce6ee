/**
 * The runtime's interface: what a host can do with containers, whatever does it. Types and errors only; its
 * parts are container-config.ts, image-types.ts, stream-types.ts and errors.ts, and all is imported from here.
 * It speaks the words of the OCI image and runtime specifications and knows nothing of Kubernetes.
 * Times are milliseconds since the epoch, sizes bytes, processor shares thousandths of a core.
 *
 * Every operation is idempotent and crash-safe: called again after a kill -9 in its middle it finishes or undoes
 * what was begun. The records are the folders on disk and the kernel; there is no second database.
 */
import type { Duplex, Readable } from 'node:stream';
import type { ContainerConfig, ContainerID, MutableConfig, PortMapping } from './container-config.ts';
import type { Damage, Drift, DriftKind } from './drift.ts';
import type { Images } from './image-types.ts';
import type {
  Archive,
  AttachRequest,
  ExecRequest,
  FileChange,
  LogEntry,
  LogOptions,
  Stats,
  StreamSession,
  TerminalSize,
  WriteArchiveOptions,
} from './stream-types.ts';

export * from './container-config.ts';
export type { Damage, Drift, DriftKind, Remedy } from './drift.ts';
export * from './errors.ts';
export * from './image-types.ts';
export * from './stream-types.ts';

export interface Exit {
  /** 128 + n after signal n. -1 when it cannot be known (the monitor was killed before the process ended). */
  readonly code: number;
  readonly signal?: number | undefined;
  readonly oomKilled: boolean;
  readonly finishedAtMs: number;
  /** The host went down under it, so nobody saw how it ended. */
  readonly hostWentDown?: true | undefined;
  /** What somebody did to it that ended it; undefined: nothing that can be told from an end of its own. */
  readonly drift?: DriftKind | undefined;
}

export type ContainerState =
  /** Everything is prepared; no process was started yet. */
  | { readonly kind: 'created' }
  | {
      readonly kind: 'running';
      readonly pid: number;
      readonly startedAtMs: number;
      /** Its processes are frozen, by pause or by somebody else. */
      readonly isPaused?: true | undefined;
      /** Somebody took from it what only a restart can give back. */
      readonly damage?: Damage | undefined;
    }
  /** startedAtMs is undefined when the start itself failed part-way. */
  | { readonly kind: 'exited'; readonly exit: Exit; readonly startedAtMs?: number | undefined };

export interface ContainerInfo {
  readonly id: ContainerID;
  /** How many programs run in its place (Containers.debug). */
  readonly debugSessions: number;
  readonly name: string;
  readonly imageID: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAtMs: number;
  readonly state: ContainerState;
  /** IPv4 address at which others reach it; the bridge's with the host's network; undefined while it has none. */
  readonly ip?: string | undefined;
  /** IPv6 likewise; undefined too where the host has no IPv6. */
  readonly ip6?: string | undefined;
  /** Of its end of the cable, 02:42:ac:11:00:02; undefined without a network of its own, and of one made by an earlier version. */
  readonly mac?: string | undefined;
  /** Published ports as they are. */
  readonly ports: readonly PortMapping[];
  /** Signal number that asks it to stop: from the image, or SIGTERM. A caller may prefer another. */
  readonly stopSignal: number;
  /** The contents of its volumes of kind files were lost with the host's memory; update has to give them before a start. */
  readonly lacksFiles?: boolean | undefined;
}

export type RuntimeEvent =
  | { readonly kind: 'exited'; readonly id: ContainerID }
  /** The kernel killed one of its processes for memory. If that was the end of all, `exited` follows. */
  | { readonly kind: 'oom'; readonly id: ContainerID }
  | { readonly kind: 'removed'; readonly id: ContainerID }
  /** A debug session of it has begun or ended. */
  | { readonly kind: 'debug'; readonly id: ContainerID }
  /** It was frozen or thawed. */
  | { readonly kind: 'frozen'; readonly id: ContainerID }
  /** Something that was changed behind our back was found, and what can be done at once was done. */
  | { readonly kind: 'drift'; readonly drift: Drift }
  /** Something may have been missed: look at everything again. */
  | { readonly kind: 'relist' };

/** One runtime operation that ended, for latency metrics. */
export interface OperationReport {
  readonly operation: string;
  readonly result: 'success' | 'error';
  readonly durationMs: number;
}

export interface Containers {
  /**
   * Prepares root file system, network and bundle. A container of this id that is already there is finished if its
   * creation was cut short, else left as it is (replacing one is remove, then create).
   * Throws ImageNotPresentError, PortTakenError, ContainerConfigError, RuntimeOperationError.
   */
  create(config: ContainerConfig, signal: AbortSignal): Promise<ContainerInfo>;
  /**
   * Starts the process of a created or exited container; nothing to do if it runs.
   * A restart keeps the layer, the network namespace and the address.
   * Throws StartError (command missing, not executable, …), PortTakenError, MountError, ContainerConfigError,
   * ContainerNotFoundError, RuntimeOperationError.
   */
  start(id: ContainerID, signal: AbortSignal): Promise<ContainerInfo>;
  /** Changes what can change in place. Throws ContainerNotFoundError. */
  update(id: ContainerID, change: Partial<MutableConfig>): Promise<void>;
  /**
   * Sends a signal to PID 1 of a running container; no error if it does not run. SIGKILL ends all its processes. One
   * that is paused gets it when it is resumed, but SIGKILL at once.
   */
  signal(id: ContainerID, signal: number): Promise<void>;
  /**
   * Freezes all processes of a running container, in no time of theirs; nothing to do if they are. It survives us, not
   * a reboot. Throws ContainerNotFoundError, ContainerNotRunningError, RuntimeOperationError (then they go on).
   */
  pause(id: ContainerID): Promise<void>;
  /** Lets the processes of a paused container go on; nothing to do for another. Throws ContainerNotFoundError, RuntimeOperationError. */
  resume(id: ContainerID): Promise<void>;
  /**
   * Kills if need be and removes everything: process, layer, network, ports, cgroup, logs, and its own volumes unless
   * they are to be kept for a next container of this id. No error if not there; kept volumes are removed then, too.
   */
  remove(id: ContainerID, options?: { readonly volumes: 'remove' | 'keep' }): Promise<void>;
  /** Ids of containers that were removed, and whose volumes were kept for the next one. */
  listKept(): Promise<readonly ContainerID[]>;
  /** undefined if there is none. Cheap: reads files and /proc, spawns nothing. */
  inspect(id: ContainerID): Promise<ContainerInfo | undefined>;
  list(): Promise<readonly ContainerInfo[]>;
  /**
   * Entries in the order they were written, rotated files included. A partial line is given at once, its
   * continuation as a further entry. Ends when all is read, or, with follow, when the signal aborts or the container
   * is removed. Throws ContainerNotFoundError, RunNotKeptError (previous).
   */
  log(id: ContainerID, options: LogOptions, signal: AbortSignal): AsyncIterable<LogEntry>;
  /**
   * Runs a further process in a running container, with its user, environment, capabilities, seccomp filter and cgroup.
   * The signal counts until the session is there; close() ends it afterwards. One that is paused is refused.
   * Throws ContainerNotFoundError, ContainerNotRunningError, ContainerConfigError (user, env, …), StartError (127
   * missing, 126 not executable), RuntimeOperationError.
   */
  exec(id: ContainerID, request: ExecRequest, signal: AbortSignal): Promise<StreamSession>;
  /**
   * Runs a program in place of a container's own while that does not run: in its root, network and volumes, with its
   * user, environment and limits, but with processes and a cgroup of its own, so that the container can be started
   * beside it. Where its user or working folder are what is broken, it is root in /. Ends with the session and with the
   * container's removal. For one that runs it is exec. Throws as exec, and MountError.
   */
  debug(id: ContainerID, request: ExecRequest, signal: AbortSignal): Promise<StreamSession>;
  /**
   * The streams of the container's own process, from now on. Detaching leaves it running; its input ends then only if
   * the container says so (isStdinOnce). Of a run that is awaited there always is a stderr, empty with a terminal.
   * The session has all of the run's output, also if the container is removed at its end and the client reads slowly.
   * Throws ContainerNotFoundError, ContainerNotRunningError (neither when it may wait), RuntimeOperationError.
   */
  attach(id: ContainerID, request: AttachRequest, signal: AbortSignal): Promise<StreamSession>;
  /**
   * Gives the terminal of the container's own process another size; nothing happens without one.
   * Throws ContainerNotFoundError, ContainerNotRunningError.
   */
  resize(id: ContainerID, size: TerminalSize): Promise<void>;
  /** undefined if it does not run. Cheap: reads files, spawns nothing. Throws ContainerNotFoundError. */
  stats(id: ContainerID, options?: { readonly isDetailed?: boolean }): Promise<Stats | undefined>;
  /** Pids on the host of all that runs in it, further processes included. Throws ContainerNotFoundError. */
  processes(id: ContainerID): Promise<readonly number[]>;
  /** Bytes of the disk that what its root file system differs by takes. Reads that tree. Throws ContainerNotFoundError, RuntimeOperationError. */
  usage(id: ContainerID, signal: AbortSignal): Promise<number>;
  /**
   * In what its root file system differs from its image, in the order of the paths: a folder is changed when something
   * directly in it came or went, or it has another mode, owner or time. What was only made to mount something on is left out.
   * Throws ContainerNotFoundError, ImageNotPresentError, RuntimeOperationError (more than a million changes).
   */
  changes(id: ContainerID, signal: AbortSignal): Promise<readonly FileChange[]>;
  /**
   * A TCP connection to 127.0.0.1:port inside the container's network, so that it reaches what listens on loopback only.
   * Throws ContainerNotFoundError, ContainerNotRunningError, RuntimeOperationError when nobody listens.
   */
  dial(id: ContainerID, port: number, signal: AbortSignal): Promise<Duplex>;
  /**
   * A file or folder of the container as a tar archive, as the container sees it: with its volumes, and with owners of
   * its user namespace. One that does not run is seen with its root and the volumes that are kept. A link is not
   * followed unless the path ends with /. Whoever opens it reads the stream to its end or destroys it.
   * Throws ContainerNotFoundError, ArchiveError, RuntimeOperationError.
   */
  readArchive(id: ContainerID, path: string, signal: AbortSignal): Promise<Archive>;
  /**
   * All of its root file system as a tar archive, without what is mounted in it, by names that begin at the root.
   * Throws ContainerNotFoundError, RuntimeOperationError.
   */
  exportRoot(id: ContainerID, signal: AbortSignal): Promise<Readable>;
  /**
   * Unpacks a tar archive (ustar, pax or GNU; not compressed) below a folder that is there, with modes and times.
   * Resolves when all is written; what was unpacked before an error stays.
   * Throws ContainerNotFoundError, ArchiveError, RuntimeOperationError.
   */
  writeArchive(
    id: ContainerID,
    dir: string,
    archive: Readable,
    options: WriteArchiveOptions,
    signal: AbortSignal,
  ): Promise<void>;
}

/** A folder that outlives processes and perhaps containers. */
export interface VolumeInfo {
  /** A named volume's name; an own volume's is 64 hexadecimal digits. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAtMs: number;
  /** The folder with its content, on the host. */
  readonly path: string;
  /** Of an own volume: whose. */
  readonly owner?: ContainerID | undefined;
  /** Names of the containers that have it, running or not. */
  readonly usedBy: readonly string[];
}

/** Named volumes, and the own volumes of containers. Names: up to 255 letters, digits, _ . and -, a letter or digit first. */
export interface Volumes {
  /** Makes an empty named volume; one that is there is returned as it is. Throws ContainerConfigError for its name. */
  create(name: string, labels: Readonly<Record<string, string>>): Promise<VolumeInfo>;
  list(): Promise<readonly VolumeInfo[]>;
  inspect(name: string): Promise<VolumeInfo | undefined>;
  /** Bytes on the disk. Reads the whole tree. 0 if it is not there. */
  usage(name: string, signal: AbortSignal): Promise<number>;
  /** With its content. No error if it is not there. Throws VolumeInUseError. */
  remove(name: string): Promise<void>;
  /** Removes those that no container has and that are chosen; returns their names. */
  prune(isChosen: (volume: VolumeInfo) => boolean): Promise<readonly string[]>;
}

/** 10.76.0.0/16, 16 and 10.76.0.1. */
export interface SubnetInfo {
  readonly cidr: string;
  readonly prefixLength: number;
  readonly gateway: string;
}

export interface RuntimeInfo {
  readonly name: string;
  /** e.g. { crun: '1.8.1', conmon: '2.1.6' } */
  readonly versions: Readonly<Record<string, string>>;
  /** The containers' subnets and the bridge's addresses in them; undefined: containers have no addresses. */
  readonly network?: {
    readonly bridge: string;
    readonly ipv4: SubnetInfo;
    readonly ipv6?: SubnetInfo | undefined;
  };
}

export interface Runtime {
  readonly images: Images;
  readonly containers: Containers;
  readonly volumes: Volumes;
  info(): RuntimeInfo;
  /** Calls the listener for every event until the returned function is called. A listener must not throw. */
  subscribe(listener: (event: RuntimeEvent) => void): () => void;
  /** Stops watching and its helpers; containers go on. */
  close(): Promise<void>;
}
