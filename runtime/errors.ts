/** The errors of the runtime's interface: a class for each that a caller tells from others. */
import type { ContainerID, PortMapping } from './container-config.ts';

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
  /** What stood in the way, in the words of who said so, without what to do. */
  readonly problem: string;
  constructor(
    image: string,
    problem: { readonly kind: ImagePullError['kind']; readonly what: string; readonly fix: string },
    options?: ErrorOptions,
  ) {
    super(`cannot pull image "${image}": ${problem.what}; ${problem.fix}`, options);
    this.kind = problem.kind;
    this.problem = problem.what;
  }
}

/** A registry refused something other than a pull, or could not be asked for it. `kind` and `problem` as ImagePullError's. */
export class RegistryError extends Error {
  override readonly name = 'RegistryError';
  readonly kind: ImagePullError['kind'];
  readonly problem: string;
  /** `deed`: what could not be done, after "cannot". */
  constructor(
    deed: string,
    { kind, what, fix }: { readonly kind: ImagePullError['kind']; readonly what: string; readonly fix: string },
    options?: ErrorOptions,
  ) {
    super(`cannot ${deed}: ${what}; ${fix}`, options);
    this.kind = kind;
    this.problem = what;
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
