/**
 * What a container is to be: the configuration that the runtime's interface takes. Types only; defaults are Docker's or
 * stricter.
 */

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

/** A network that a container is part of: it reaches those that share one with it, and no others. */
export interface NetworkMembership {
  /** Unique on this host; "default" is the network of all that are given none. */
  readonly name: string;
  /** Those that are on such ones only have no way out, and their ports are not published. */
  readonly isInternal: boolean;
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
  /** undefined: the default one; empty: none, so that nobody reaches it, nor it anybody. A change counts at once. */
  readonly networks?: readonly NetworkMembership[] | undefined;
  /** undefined: as the host has it, with the runtime's resolver. A running container sees a change at once. */
  readonly dns?: DnsConfig | undefined;
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
  readonly namespaces?: NamespaceConfig | undefined;
  /** Of /dev/shm; undefined: 64 MiB. */
  readonly shmSizeBytes?: number | undefined;
  readonly security?: SecurityConfig | undefined;
  readonly volumes?: readonly Volume[] | undefined;
  /** Paths that the image declares as volumes and that are none of these get a volume of kind own, which copies up. */
  readonly mounts?: readonly VolumeMount[] | undefined;
}
