/**
 * The runtime's errors about images as Docker's clients know them. Pure.
 * Source of the texts: moby distribution/errors.go (pull and push), daemon/images (the rest).
 */
import {
  ImageInUseError,
  ImageNotPresentError,
  ImagePullError,
  RegistryError,
  type RegistryReference,
} from '../runtime/index.ts';
import { badParameter, conflict, DockerError, notFound } from './docker-error.ts';
import { familiarRepository, formatFamiliar } from './image-reference.ts';

type Asked = { readonly reference: RegistryReference; readonly platform?: string | undefined };

/** A pull that failed. What is no error of a registry is returned as it is. */
export function pullErrorOf(error: unknown, { reference, platform }: Asked): unknown {
  if (!(error instanceof ImagePullError)) return error;
  const { problem, kind } = error;
  if (kind === 'invalid-name') return badParameter(error.message);
  if (/requested access to the resource is denied/i.test(problem)) {
    const text = `pull access denied for ${familiarRepository(reference)}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied`;
    return new DockerError(404, text, { cause: error });
  }
  if (kind === 'not-found') {
    if (/no image found in|built for|manifest list/i.test(problem)) {
      const text = `no matching manifest for ${platform ?? 'this machine'} in the manifest list entries: ${problem}`;
      return new DockerError(404, text, { cause: error });
    }
    if (/name unknown|repository name not known/i.test(problem)) {
      const text = `repository ${familiarRepository(reference)} not found: name unknown: repository name not known to registry`;
      return new DockerError(404, text, { cause: error });
    }
    const text = `manifest for ${formatFamiliar(reference.canonical)} not found: manifest unknown: manifest unknown`;
    return new DockerError(404, text, { cause: error });
  }
  // Not 401, at which the command line would ask for a password: Docker says it like any other failure.
  const text = kind === 'unauthorized' ? refusalOf(problem) : withoutPlace(problem);
  return new DockerError(500, text, { cause: error });
}

/** A push, a question or a login that failed. */
export function registryErrorOf(error: unknown): unknown {
  if (error instanceof ImagePullError && error.kind === 'invalid-name') return badParameter(error.message);
  if (error instanceof ImageNotPresentError) return new DockerError(404, error.message, { cause: error });
  if (!(error instanceof RegistryError)) return error;
  const { kind, problem } = error;
  switch (kind) {
    case 'invalid-name':
      return badParameter(error.message);
    case 'not-found':
      return new DockerError(404, withoutPlace(problem), { cause: error });
    case 'unauthorized':
      return new DockerError(401, refusalOf(problem), { cause: error });
    default:
      return new DockerError(500, withoutPlace(problem), { cause: error });
  }
}

/** What is done with an image of this host. */
export function imageErrorOf(error: unknown): unknown {
  if (error instanceof ImageInUseError) return conflict(error.message);
  if (error instanceof ImageNotPresentError) return notFound(error.message);
  if (error instanceof ImagePullError && error.kind === 'corrupt')
    return badParameter(`the archive cannot be taken in: ${error.problem}`);
  if (error instanceof ImagePullError && error.kind === 'invalid-name') return badParameter(error.message);
  return error;
}

/** What the registry itself said of it, after the words of the program that asked. */
function refusalOf(problem: string): string {
  if (/invalid username\/password|incorrect username or password/i.test(problem))
    return 'unauthorized: incorrect username or password';
  return /(?:unauthorized|denied|authentication required|no basic auth).*$/is.exec(problem)?.[0] ?? problem;
}

function withoutPlace(problem: string): string {
  return problem.replace(/^(?:[\w ]+: )*?pinging container registry \S+: /, '');
}
