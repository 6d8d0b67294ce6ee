/** The part of the runtime's interface that is about images: fetching, keeping and removing them. Types only. */
import type { Readable, Writable } from 'node:stream';

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
