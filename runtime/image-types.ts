/** The part of the runtime's interface that is about images: fetching, keeping and removing them. Types only. */
import type { Readable, Writable } from 'node:stream';

export type PullPolicy = 'always' | 'if-not-present' | 'never';

/** A user name and password for a registry. The password is written to no log, error or argument list. */
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
  /** The lowest first, those that were here among them; undefined: not known, or not yet. */
  readonly layers?: readonly LayerProgress[] | undefined;
}

/** A layer of an image that is being fetched. Which bytes are whose is a good guess while several come at once. */
export interface LayerProgress {
  /** sha256:… of the blob, as the registry has it. */
  readonly digest: string;
  readonly sizeBytes: number;
  readonly doneBytes: number;
  /** present: it was on this host before; stored: it is unpacked. */
  readonly state: 'present' | 'waiting' | 'downloading' | 'downloaded' | 'stored';
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
  /** The layers are asked for at once and reported to the last, which costs one more request; else after a while, if at all. */
  readonly reportsLayers?: boolean | undefined;
}

/** Whom a registry takes the one who asks for. */
export interface RegistryAccess {
  /** As those of PullOptions. */
  readonly credentials?: readonly RegistryCredential[] | undefined;
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

/** All that is known of an image. */
export interface ImageDescription extends ImageInfo {
  /** The OCI image configuration as it came: each member is unknown until it is looked at. */
  readonly configuration: Readonly<Record<string, unknown>>;
  /** What the image says of itself; '' where it says nothing. */
  readonly platform: { readonly os: string; readonly architecture: string; readonly variant: string };
  /** undefined: it does not say, or not in RFC 3339. */
  readonly createdAtMs: number | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** The lowest first. */
  readonly layers: readonly { readonly diffID: string; readonly sizeBytes: number }[];
  /** By which registries know it, that of an index where it came by one; empty: it came by an archive. */
  readonly manifestDigests: readonly string[];
}

/** What a registry was given. */
export interface PushedImage {
  /** sha256:… of the manifest. */
  readonly digest: string;
  /** Of the manifest; undefined: the registry did not say it afterwards. */
  readonly sizeBytes: number | undefined;
}

/** An image in a registry, before it is fetched. */
export interface RemoteImage {
  /** sha256:… of the manifest or index. */
  readonly digest: string;
  readonly mediaType: string;
  readonly sizeBytes: number;
  readonly platforms: readonly { readonly os: string; readonly architecture: string; readonly variant: string }[];
}

export interface ImportedImage extends ImageInfo {
  /** Those of its names that the archive gave it. */
  readonly importedNames: readonly string[];
}

/** What an image that is made of a root file system says about running it; members of `config` of the OCI image configuration. */
export interface RootFsImport {
  /** undefined: it gets no name. */
  readonly name?: string | undefined;
  readonly config: Readonly<Record<string, unknown>>;
  /** Stands in its history. */
  readonly comment: string;
  /** os/architecture[/variant]; undefined: this host's. */
  readonly platform?: string | undefined;
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
   * share one pull. Takes docker names (short ones are docker.io/library/…), docker-archive:, oci-archive: and oci:, and
   * ids (sha256:…), which can only be present.
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
  ): Promise<readonly ImportedImage[]>;
  /**
   * Makes an image of one layer out of a tar archive of a root file system (also compressed by gzip, bzip2, xz or zstd).
   * Throws ImagePullError (corrupt, invalid-name).
   */
  importRootFs(source: string | Readable, request: RootFsImport, signal: AbortSignal): Promise<ImageInfo>;
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
  /** As inspect, with all that is known of it. */
  describe(referenceOrID: string, platform?: string): Promise<ImageDescription | undefined>;
  /**
   * Gives an image one more name, which another image may lose by it. Throws ImageNotPresentError, ImagePullError
   * (invalid-name: also one with a digest, which only a registry gives).
   */
  tag(referenceOrID: string, name: string): Promise<void>;
  /** Takes a name from its image, which stays, be it without any. No error if none has it. */
  untag(name: string): Promise<void>;
  /** One of several names is taken from it; the last one, or an id, removes the image. Throws ImageInUseError. No error if it is not there. */
  remove(referenceOrID: string): Promise<void>;
  /**
   * Copies the image that has this name to the registry that the name says. `onLayer` hears of each layer, by its diff ID,
   * when it is begun. Returns what the registry has now. Throws ImageNotPresentError, RegistryError.
   */
  push(
    name: string,
    options: RegistryAccess & { readonly onLayer?: ((diffID: string) => void) | undefined },
    signal: AbortSignal,
  ): Promise<PushedImage>;
  /** Asks the registry of a reference what it has there. Throws RegistryError. */
  describeRemote(reference: string, access: RegistryAccess, signal: AbortSignal): Promise<RemoteImage>;
  /** Asks a registry whether it knows this user and password. Throws RegistryError (unauthorized: it does not). */
  checkCredential(credential: RegistryCredential, signal: AbortSignal): Promise<void>;
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
