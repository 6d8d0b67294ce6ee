/** Errors as Docker answers them: an HTTP status and a message for people, in Docker's own words where it has some. */

/** The client gets `status` and {"message": …}. */
export class DockerError extends Error {
  override readonly name = 'DockerError';
  readonly status: number;
  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

export function badParameter(message: string): DockerError {
  return new DockerError(400, message);
}

export function notFound(message: string): DockerError {
  return new DockerError(404, message);
}

export function conflict(message: string): DockerError {
  return new DockerError(409, message);
}

/** What Docker can and Holdfast cannot; the message names the field or command, and what to do instead. */
export function notImplemented(message: string): DockerError {
  return new DockerError(501, message);
}
