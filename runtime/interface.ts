/**
 * The runtime's interface: what a host can do with containers, whatever does it. Types and errors only.
 * It speaks the words of the OCI image and runtime specifications and knows nothing of Kubernetes.
 * Times are milliseconds since the epoch, sizes bytes, processor shares thousandths of a core.
 *
 * Every operation is idempotent and crash-safe: called again after a kill -9 in its middle it finishes or undoes
 * what was begun. The records are the folders on disk and the kernel; there is no second database.
 */
import type { Duplex, Readable, Writable } from 'node:stream';

/** 64 lower-case hexadecimal digits; chosen by the caller, stable for the life of the container. */
export type ContainerID = string;

export interface EnvVar {
  readonly name: string;
  readonly value: string;
}

/** One line of /etc/hosts: an address and the names it answers to. */
export interface HostEntry {
  readonly ip: string;
  readonly names: readonly string[];
}

export interface PortMapping {
  readonly containerPort: number;
  /** 0 asks for a free one; a reported mapping never holds 0. */
  readonly hostPort: number;
  /** With a hostPort other than 0: the last of a range of which a free one is taken. A reported mapping never has it. */
  readonly hostPortEnd?: number | undefined;
  /** undefined: every address of the host, IPv4 and IPv6. */
  readonly hostIP?: string | undefined;
  readonly protocol: 'tcp' | 'udp';
}

export interface Limits {
  /** Thousandths of a core; undefined: no limit. */
  readonly cpuMillis?: number | undefined;
  /** Its share when all want the processor, as of so many thousandths of a core; undefined: as of one core. */
  readonly cpuRequestMillis?: number | undefined;
  readonly memoryBytes?: number | undefined;
  /** Swap space beyond memoryBytes; undefined: none. Without a memory limit it means nothing. */
  readonly swapBytes?: number | undefined;
  readonly pids?: number | undefined;
}

export interface LogLimits {
  /** The log file is rotated when it reaches this size. */
  readonly maxSizeBytes: number;
  /** Files kept, the one being written included; at least 1. */
  readonly maxFiles: number;
}

/**
 * The domain that the runtime's resolver answers for: dnsNames are below it. Source: ".internal" is reserved for private
 * use by ICANN's resolution of 2024-07-29, so it hides no name of the world.
 */
export const resolverDomain = 'holdfast.internal';

/** What of /etc/resolv.conf is not the host's or the runtime's own. */
export interface DnsConfig {
  /**
   * What the lists below are added to. resolver (as without it): the runtime's own resolver, which answers to dnsNames and
   * asks the host's for all else, and the host's searches and options. host: what the host has. none: nothing.
   */
  readonly base?: 'resolver' | 'host' | 'none' | undefined;
  /** Addresses, after those of the base: asked when those do not answer. */
  readonly servers: readonly string[];
  /** Before those of the base. */
  readonly searches: readonly string[];
  /** Words as in resolv.conf(5), such as "ndots:2"; they override those of the base. */
  readonly options: readonly string[];
}

/** One file of a volume of files. */
export interface VolumeFile {
  /** Relative to the volume, without "..". */
  readonly path: string;
  readonly dataBase64: string;
  /** Permission bits. */
  readonly mode: number;
}

/** What is mounted into a container, by whoever mounts it. */
export type VolumeSource =
  /** A file or folder of the host. `ensure`: what it must be, or is made if it is not there. */
  | {
      readonly kind: 'bind';
      readonly path: string;
      readonly ensure:
        | 'any'
        | 'directory'
        | 'directory-or-create'
        | 'file'
        | 'file-or-create'
        | 'socket'
        | 'char-device'
        | 'block-device';
    }
  /** A folder below the data dir that outlives its containers; made when it is first used. */
  | { readonly kind: 'named'; readonly name: string }
  /** A folder of this container's own, kept across its restarts and, if asked for, its replacement. Made with these permission bits. */
  | { readonly kind: 'own'; readonly mode: number }
  /** Memory, empty at each start; each mount of it is one of its own. mode: permission bits, default 1777. */
  | { readonly kind: 'tmpfs'; readonly sizeBytes?: number | undefined; readonly mode?: number | undefined }
  /** Memory that is kept as an own volume is, but not when the host goes down. Anyone may write. */
  | { readonly kind: 'memory'; readonly sizeBytes?: number | undefined }
  /** Files in memory, given by MutableConfig.files under the volume's name; read-only, and a running container sees a change as one. */
  | { readonly kind: 'files' };

export interface Volume {
  /** Unique among this container's volumes; up to 63 letters, digits, dots and dashes. */
  readonly name: string;
  readonly source: VolumeSource;
}

export interface VolumeMount {
  /** Of one of `volumes`. */
  readonly volume: string;
  /** Absolute, in the container; made if it is not there. */
  readonly path: string;
  /** Also what is mounted below the source. */
  readonly isReadOnly: boolean;
  /** Relative to the volume; made, as a folder, if it is not there. It is never followed out of the volume. */
  readonly subPath?: string | undefined;
  /** A named or own volume that is empty when the container first starts gets what the image has at the path, and its owner and mode. */
  readonly copiesUp: boolean;
}

export interface Device {
  readonly hostPath: string;
  readonly path: string;
  /** Of r, w and m. */
  readonly permissions: string;
}

export interface Ulimit {
  /** As in setrlimit(2), lower case, without RLIMIT_: nofile. */
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

/** What differs from the defaults, which are Docker's or stricter. */
export interface SecurityConfig {
  /** All capabilities, all devices, no seccomp filter, nothing masked. */
  readonly isPrivileged?: boolean | undefined;
  /** CAP_…, or ALL. */
  readonly addCapabilities?: readonly string[] | undefined;
  readonly dropCapabilities?: readonly string[] | undefined;
  readonly noNewPrivileges?: boolean | undefined;
  /**
   * undefined: the default filter, or none for a privileged container. A file holds a profile in the format of the OCI
   * specification or of Docker; its path is relative to the folder seccomp of the data dir.
   */
  readonly seccomp?:
    | { readonly kind: 'default' }
    | { readonly kind: 'unconfined' }
    | { readonly kind: 'file'; readonly path: string }
    | undefined;
  readonly devices?: readonly Device[] | undefined;
  readonly sysctls?: Readonly<Record<string, string>> | undefined;
  readonly ulimits?: readonly Ulimit[] | undefined;
  /** undefined: the default lists; empty: none. */
  readonly maskedPaths?: readonly string[] | undefined;
  readonly readonlyPaths?: readonly string[] | undefined;
}

/** Whose namespaces the container has; undefined: its own (and for user: the host's). */
export interface NamespaceConfig {
  readonly pid?: 'host' | undefined;
  readonly ipc?: 'host' | undefined;
  readonly network?: 'host' | 'none' | undefined;
  /** mapped: its root is nobody of the host. */
  readonly user?: 'mapped' | undefined;
}

/** What of a container can change without restarting its process. All of it is kept across restarts. */
export interface MutableConfig {
  /** For people: in logs of ours. Not interpreted. */
  readonly name: string;
  /** Opaque to the runtime; stored with the container and returned as it was. */
  readonly labels: Readonly<Record<string, string>>;
  /** /etc/hosts beyond localhost and the container's own name; a running container sees a change at once. */
  readonly hosts: readonly HostEntry[];
  /** Added to the image's environment and overriding it; a change counts from the next start. */
  readonly env: readonly EnvVar[];
  /** Replaces the image's Entrypoint (and its Cmd too, unless cmd is given); a change counts from the next start. */
  readonly entrypoint?: readonly string[] | undefined;
  /** Replaces the image's Cmd; a change counts from the next start. */
  readonly cmd?: readonly string[] | undefined;
  readonly limits: Limits;
  readonly log: LogLimits;
  /**
   * Names to which the runtime's resolver answers with the container's addresses while it runs: "web.shop" stands for
   * itself and for "web.shop.holdfast.internal". Lower-case labels with dots between.
   */
  readonly dnsNames?: readonly string[] | undefined;
  /**
   * Its names answer with its IPv6 address too. Not by default: most clients would try that first, many of them nothing
   * else, and many servers listen on IPv4 only.
   */
  readonly isDualStack?: boolean | undefined;
  /**
   * Contents of volumes of kind files, by the volume's name. They are written to memory only: after the host went down
   * they have to be given again (ContainerInfo.lacksFiles).
   */
  readonly files?: Readonly<Record<string, readonly VolumeFile[]>> | undefined;
  /** When the container is removed, the volumes that its image declares stay, as volumes of nobody. */
  readonly keepsImageVolumes?: boolean | undefined;
}

export interface ContainerConfig extends MutableConfig {
  readonly id: ContainerID;
  /** Image configuration digest, sha256:…, as returned by images.ensure. */
  readonly imageID: string;
  /** Text in env, entrypoint and cmd that is replaced by the container's address whenever it starts. */
  readonly addressPlaceholder?: string | undefined;
  /** Absolute; undefined: the image's WorkingDir, then /. */
  readonly workingDir?: string | undefined;
  /** name|uid[:group|gid]; undefined: the image's User, then root. */
  readonly user?: string | undefined;
  /** Name or number; in place of the user's own group and of one in `user`. */
  readonly group?: string | undefined;
  /** Groups beside the user's own, by name or number. */
  readonly groups?: readonly string[] | undefined;
  /** A start as root (uid 0 in the container) is refused with a ContainerConfigError. */
  readonly refusesRoot?: boolean | undefined;
  readonly hostname: string;
  readonly readonlyRootfs: boolean;
  /** The process's standard input stays open for clients that attach; else it is /dev/null. */
  readonly hasStdin?: boolean | undefined;
  /** Its input ends when the first client that attached with input goes away, or ends its own. */
  readonly isStdinOnce?: boolean | undefined;
  /** Its streams are a terminal. */
  readonly hasTerminal?: boolean | undefined;
  readonly ports: readonly PortMapping[];
  /** A small init as process 1, which hands signals on and reaps. */
  readonly hasInit?: boolean | undefined;
  /** undefined: as the host has it, with the runtime's resolver. */
  readonly dns?: DnsConfig | undefined;
  readonly namespaces?: NamespaceConfig | undefined;
  /** Of /dev/shm; undefined: 64 MiB. */
  readonly shmSizeBytes?: number | undefined;
  readonly security?: SecurityConfig | undefined;
  readonly volumes?: readonly Volume[] | undefined;
  /** Paths that the image declares as volumes and that are none of these get a volume of kind own, which copies up. */
  readonly mounts?: readonly VolumeMount[] | undefined;
}

export interface Exit {
  /** 128 + n after signal n. -1 when it cannot be known (the monitor was killed before the process ended). */
  readonly code: number;
  readonly signal?: number | undefined;
  readonly oomKilled: boolean;
  readonly finishedAtMs: number;
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
  /** Published ports as they are. */
  readonly ports: readonly PortMapping[];
  /** Signal number that asks it to stop: from the image, or SIGTERM. A caller may prefer another. */
  readonly stopSignal: number;
  /** The contents of its volumes of kind files were lost with the host's memory; update has to give them before a start. */
  readonly lacksFiles?: boolean | undefined;
}

export type PullPolicy = 'always' | 'if-not-present' | 'never';

/** A user name and password for a registry. It is written to no log, error or argument list. */
export interface RegistryCredential {
  /** As in a config.json: a host, a host and path, or a URL; "*" stands for a part of a host's label. */
  readonly registry: string;
  readonly username: string;
  readonly password: string;
}

/** How far a pull is. Layers that are on this host already do not count. */
export interface PullProgress {
  /** Bytes that came from the registry so far, as it has them (compressed). */
  readonly doneBytes: number;
  /** undefined: not known, or not yet. When all is there, the layers are still to be unpacked. */
  readonly totalBytes?: number | undefined;
}

export interface PullOptions {
  /**
   * Tried in turn where they match, the more specific first; then this host's own, if it has some for the registry. An
   * image that is present needs none: whoever has it may be another (Kubernetes' rule for if-not-present).
   */
  readonly credentials?: readonly RegistryCredential[] | undefined;
  /** os/architecture[/variant]; undefined: this host's. */
  readonly platform?: string | undefined;
  /** Called a few times a second at most, while bytes come. Must not throw. */
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
}

export interface ImageInfo {
  /** Digest of the image configuration, sha256:…. */
  readonly id: string;
  /** References that point to it, fully qualified. */
  readonly names: readonly string[];
  readonly sizeBytes: number;
  /** The OCI image configuration's `config` object, as far as the runtime and its callers use it. */
  readonly config: ImageConfig;
}

/** `config` of the OCI image configuration. Source: opencontainers/image-spec config.md. */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly stopSignal?: string | undefined;
  /** "80/tcp", … */
  readonly exposedPorts: readonly string[];
  readonly volumes: readonly string[];
}

/** When images that nobody needs go. Source: the kubelet's image garbage collection, whose names the fields have. */
export interface CollectionPolicy {
  /** Younger ones stay, and those that were used since. */
  readonly minimumAgeMs: number;
  /** Unused for so long, they go whether there is space or not; undefined: never for that alone. */
  readonly maximumAgeMs: number | undefined;
  /** Used space of the file system, in percent, from which on images go; 100: never. */
  readonly highThresholdPercent: number;
  /** … and down to which. */
  readonly lowThresholdPercent: number;
  /** Somebody ran out of space: go down to the low threshold, whatever the high one says. */
  readonly isDiskFull: boolean;
}

export interface CollectedImage {
  /** sha256:… */
  readonly id: string;
  readonly names: readonly string[];
  /** With the layers that it shared with others, which stay. */
  readonly sizeBytes: number;
  readonly because: 'age' | 'space';
}

export interface CollectionReport {
  readonly removed: readonly CollectedImage[];
  /** Layers of broken pulls. */
  readonly layersRemoved: number;
  /** What the low threshold still lacks, because all that is left is needed; 0: nothing. */
  readonly missingBytes: number;
  /** Of the file system, afterwards. */
  readonly capacityBytes: number;
  readonly availableBytes: number;
}

export interface Images {
  /**
   * Makes the image present by the policy and returns it. Concurrent calls for one reference, platform and credentials
   * share one pull. Takes docker names (short ones are docker.io/library/…), docker-archive:, oci-archive: and oci:.
   * Throws ImagePullError, ImageNotPresentError (policy never), RuntimeClosedError, or the signal's reason.
   */
  ensure(reference: string, policy: PullPolicy, signal: AbortSignal, options?: PullOptions): Promise<ImageInfo>;
  list(): Promise<readonly ImageInfo[]>;
  /**
   * Takes in the images of an archive as docker save, podman save or exportArchive write it (also compressed), from a file
   * or a stream. They get the names that they have in it, which other images of this host lose; `name` is for an archive of
   * one. Throws ImagePullError.
   */
  importArchive(
    source: string | Readable,
    options: { readonly name?: string | undefined; readonly onProgress?: PullOptions['onProgress'] },
    signal: AbortSignal,
  ): Promise<readonly ImageInfo[]>;
  /**
   * Writes images, by reference or id, to a file or a stream, which is ended. A reference is kept as a name in the archive.
   * Throws ImageNotPresentError, RuntimeOperationError.
   */
  exportArchive(
    references: readonly string[],
    request: { readonly format: 'docker-archive' | 'oci-archive'; readonly target: string | Writable },
    signal: AbortSignal,
  ): Promise<void>;
  /** undefined if there is none. Takes a reference or an id; `platform` goes with a reference (os/architecture[/variant]). */
  inspect(referenceOrID: string, platform?: string): Promise<ImageInfo | undefined>;
  /** Throws ImageInUseError. No error if it is not there. */
  remove(referenceOrID: string): Promise<void>;
  /**
   * Removes images that no container has and that are not among `wanted`, the longest unused first, and what broken pulls
   * left. Those of the name localhost/… stay: no registry has them. One at a time; a second call waits for the first.
   */
  collect(
    request: {
      readonly wanted: readonly { readonly reference: string; readonly platform?: string | undefined }[];
      readonly policy: CollectionPolicy;
    },
    signal: AbortSignal,
  ): Promise<CollectionReport>;
  /** The registry host ("docker.io") of a reference, or undefined for archives. Pure; for breakers per registry. */
  registryOf(reference: string): string | undefined;
}

export interface LogEntry {
  /** RFC 3339 with nanoseconds, UTC. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** Bytes as the process wrote them; ends with a newline unless the line is not complete yet. */
  readonly data: Buffer;
}

export interface LogOptions {
  /** Go on with what is written from now on, across rotations and restarts, until aborted or the container is removed. */
  readonly follow?: boolean | undefined;
  /** Only the last so many lines, of the streams and the run that are wanted; undefined: all. */
  readonly tailLines?: number | undefined;
  readonly sinceMs?: number | undefined;
  /** The last moment that is of interest; a reader that follows is done when it has passed. */
  readonly untilMs?: number | undefined;
  /** Default: all. */
  readonly streams?: 'all' | 'stdout' | 'stderr' | undefined;
  /** Only the run that ended last: before the present one, while one goes on. Never followed. */
  readonly previous?: boolean | undefined;
}

/** Size of a terminal, in characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** A process's standard streams, as one client has them. Whoever opens it reads stdout and stderr to their ends. */
export interface StreamSession {
  /** undefined if none was asked for. Ending it is the process's end of input. */
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  /** undefined with a terminal, which has one output. */
  readonly stderr: Readable | undefined;
  /** Nothing happens without a terminal. */
  resize(size: TerminalSize): Promise<void>;
  /**
   * exec: the exit code, once the process has ended and the streams have all of its output; 128 + n after signal n.
   * attach: the exit code of the container's process, or undefined when the client was detached while it runs.
   * Rejects with RuntimeOperationError if it cannot be known.
   */
  readonly exit: Promise<number | undefined>;
  /** The client goes away: ends the process of an exec (SIGHUP with a terminal, then SIGKILL), detaches an attach. */
  close(): Promise<void>;
}

/** A further process in a running container. What is not given is the container's own. */
export interface ExecRequest {
  /** Program and arguments; the program is looked for in the container's PATH. */
  readonly args: readonly string[];
  /** Added to the container's environment and overriding it. */
  readonly env?: readonly EnvVar[] | undefined;
  /** name|uid[:group|gid] */
  readonly user?: string | undefined;
  /** Absolute. */
  readonly workingDir?: string | undefined;
  readonly hasTerminal: boolean;
  readonly hasStdin: boolean;
  /** The terminal's first size. */
  readonly size?: TerminalSize | undefined;
}

export interface AttachRequest {
  /** Without effect on a container that has no stdin. */
  readonly hasStdin: boolean;
  readonly size?: TerminalSize | undefined;
}

/** What a running container uses, of its cgroup and its network. Counters only grow while it runs. */
export interface Stats {
  /** Processor time used so far. */
  readonly cpuNanoseconds: number;
  /** Memory in use without the page cache that can be dropped: the working set. */
  readonly memoryBytes: number;
  /** undefined: no limit. */
  readonly memoryLimitBytes?: number | undefined;
  /** Processes and threads. */
  readonly processes: number;
  readonly processLimit?: number | undefined;
  /** Time for which the processor limit held it back. */
  readonly throttledNanoseconds: number;
  /** Of all its network interfaces but loopback. */
  readonly networkReceivedBytes: number;
  readonly networkSentBytes: number;
  /** From and to disks, as far as the kernel accounts for it: 0 where it does not. */
  readonly diskReadBytes: number;
  readonly diskWrittenBytes: number;
}

/** What an archive is of. */
export interface ArchiveStat {
  /** The last part of the path; / for the root. */
  readonly name: string;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly sizeBytes: number;
  /** Permission bits. */
  readonly mode: number;
  /** Whole seconds. */
  readonly mtimeMs: number;
  /** Of a link, which is not followed. */
  readonly linkTarget?: string | undefined;
}

export interface Archive {
  readonly stat: ArchiveStat;
  /** A tar archive, whose first entry is named stat.name. It fails if the copy cannot be finished; an end is the end. */
  readonly stream: Readable;
}

export interface WriteArchiveOptions {
  /** Whose the files will be: as the archive says (the default), or root's. */
  readonly owner?: 'archive' | 'root' | undefined;
  /** Refuses to put a folder in the place of something else, and the other way about. */
  readonly isStrict?: boolean | undefined;
}

export type RuntimeEvent =
  | { readonly kind: 'exited'; readonly id: ContainerID }
  /** The kernel killed one of its processes for memory. If that was the end of all, `exited` follows. */
  | { readonly kind: 'oom'; readonly id: ContainerID }
  | { readonly kind: 'removed'; readonly id: ContainerID }
  /** A debug session of it has begun or ended. */
  | { readonly kind: 'debug'; readonly id: ContainerID }
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
   * the container says so (isStdinOnce). Throws ContainerNotFoundError, ContainerNotRunningError, RuntimeOperationError.
   */
  attach(id: ContainerID, request: AttachRequest, signal: AbortSignal): Promise<StreamSession>;
  /** undefined if it does not run. Cheap: reads files, spawns nothing. Throws ContainerNotFoundError. */
  stats(id: ContainerID): Promise<Stats | undefined>;
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

export interface RuntimeInfo {
  readonly name: string;
  /** e.g. { crun: '1.8.1', conmon: '2.1.6' } */
  readonly versions: Readonly<Record<string, string>>;
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

/** There is no container of that id. */
export class ContainerNotFoundError extends Error {
  override readonly name = 'ContainerNotFoundError';
  constructor(id: ContainerID, options?: ErrorOptions) {
    super(`there is no container ${id.slice(0, 12)}`, options);
  }
}

/** No run has ended yet, or its log was rotated away. */
export class RunNotKeptError extends Error {
  override readonly name = 'RunNotKeptError';
  constructor(id: ContainerID, options?: ErrorOptions) {
    super(
      `there is no log of a previous run of container ${id.slice(0, 12)}: none has ended yet, or rotation has removed it`,
      options,
    );
  }
}

/** The container does not run or is paused, so nothing can be run in it or attached to it. */
export class ContainerNotRunningError extends Error {
  override readonly name = 'ContainerNotRunningError';
  readonly isPaused: boolean;
  constructor(id: ContainerID, options?: ErrorOptions & { readonly isPaused?: boolean }) {
    const isPaused = options?.isPaused ?? false;
    super(
      `container ${id.slice(0, 12)} ${isPaused ? 'is paused; resume it first' : 'does not run; start it first'}`,
      options,
    );
    this.isPaused = isPaused;
  }
}

/** The configuration cannot be carried out; `field` names the member of ContainerConfig. The spec must change. */
export class ContainerConfigError extends Error {
  override readonly name = 'ContainerConfigError';
  readonly field: string;
  constructor(field: string, problem: string, options?: ErrorOptions) {
    super(problem, options);
    this.field = field;
  }
}

/** The process could not be started: what was to run, and why not. `exitCode` as a shell gives it: 127 missing, 126 not executable, else 128. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly exitCode: number;
  constructor(message: string, exitCode: number, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** A copy from or to a container failed for a reason that the caller can mend; the message names the path. */
export class ArchiveError extends Error {
  override readonly name = 'ArchiveError';
  /** conflict: something of another kind is in the place. invalid: the archive itself. */
  readonly kind: 'not-found' | 'conflict' | 'read-only' | 'no-space' | 'invalid';
  constructor(kind: ArchiveError['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** A host port is in use by another container or by a program of the host. */
export class PortTakenError extends Error {
  override readonly name = 'PortTakenError';
  readonly port: PortMapping;
  constructor(port: PortMapping, by: string, options?: ErrorOptions) {
    super(
      `host port ${port.hostPort}/${port.protocol} is taken by ${by}; choose another hostPort, or 0 for a free one`,
      options,
    );
    this.port = port;
  }
}

/** The image is not on this host and may not be fetched. */
export class ImageNotPresentError extends Error {
  override readonly name = 'ImageNotPresentError';
}

/** An image is used by containers, which are named in the message. */
export class ImageInUseError extends Error {
  override readonly name = 'ImageInUseError';
}

/** A volume cannot be mounted as the host stands. It may be another time: a path can appear, a file be given. */
export class MountError extends Error {
  override readonly name = 'MountError';
  readonly volume: string;
  constructor(volume: string, problem: string, options?: ErrorOptions) {
    super(`volume "${volume}" cannot be mounted: ${problem}`, options);
    this.volume = volume;
  }
}

/** A volume is had by containers, which are named in the message, or something of the host is mounted in it. */
export class VolumeInUseError extends Error {
  override readonly name = 'VolumeInUseError';
}

/**
 * An image could not be fetched. `kind`: what stood in the way. Waiting may help against 'unreachable', 'registry'
 * and 'disk'; after the others the spec (or a credential) must change, though a later push may cure 'not-found'.
 */
export class ImagePullError extends Error {
  override readonly name = 'ImagePullError';
  readonly kind: 'invalid-name' | 'not-found' | 'unauthorized' | 'unreachable' | 'registry' | 'corrupt' | 'disk';
  constructor(
    image: string,
    problem: { readonly kind: ImagePullError['kind']; readonly what: string; readonly fix: string },
    options?: ErrorOptions,
  ) {
    super(`cannot pull image "${image}": ${problem.what}; ${problem.fix}`, options);
    this.kind = problem.kind;
  }
}

/** A step at the level of the system failed or took too long: which, and what was printed. Trying again may help. */
export class RuntimeOperationError extends Error {
  override readonly name = 'RuntimeOperationError';
  readonly operation: string;
  constructor(operation: string, message: string, options?: ErrorOptions) {
    super(`${operation}: ${message}`, options);
    this.operation = operation;
  }
}

/** The run dir or the bridge belongs to another Holdfast of this host, whose containers must not be touched. */
export class InstanceConflictError extends Error {
  override readonly name = 'InstanceConflictError';
  /** The other's data dir; undefined when it is not known whose the thing is. */
  readonly ownerDataDir: string | undefined;
  constructor(what: 'run dir' | 'bridge', which: string, ownerDataDir: string | undefined, options?: ErrorOptions) {
    const owner = ownerDataDir === undefined ? 'something else on this host' : `the instance of ${ownerDataDir}`;
    super(
      `the ${what} ${which} belongs to ${owner}; give this instance a ${what} of its own, or take the other one down first`,
      options,
    );
    this.ownerDataDir = ownerDataDir;
  }
}

/** The runtime was closed. */
export class RuntimeClosedError extends Error {
  override readonly name = 'RuntimeClosedError';
}
