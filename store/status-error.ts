/**
 * Errors that answer a request: each is a metav1.Status with its HTTP code and Kubernetes' own wording.
 * Source of codes, reasons and texts: apimachinery/pkg/api/errors, whose callers compare `reason` and `code`.
 */
import { causeOf, type FieldError, formatFieldError, type StatusCause } from './field-errors.ts';
import type { JsonObject } from './json.ts';

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

/** What a resource is called in messages: `containers.holdfast.dev`, or `secrets` in the core group. */
export interface ResourceName {
  readonly group: string;
  readonly plural: string;
}

/** Any failure that a client of the API is told of. Throw it, and the request is answered with `toStatus()`. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails | undefined;

  constructor(code: number, reason: string, message: string, details?: StatusDetails, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  toStatus(): JsonObject {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      reason: this.reason,
      ...(this.details === undefined ? {} : { details: detailsToJson(this.details) }),
      code: this.code,
    };
  }
}

function detailsToJson({ causes, ...rest }: StatusDetails): JsonObject {
  return { ...rest, ...(causes === undefined ? {} : { causes: causes.map((cause) => ({ ...cause })) }) };
}

export function formatResource({ group, plural }: ResourceName): string {
  return group === '' ? plural : `${plural}.${group}`;
}

function aboutObject({ group, plural }: ResourceName, name: string): StatusDetails {
  return { name, ...(group === '' ? {} : { group }), kind: plural };
}

/** 404: there is no such object. */
export function notFound(resource: ResourceName, name: string): StatusError {
  const message = `${formatResource(resource)} "${name}" not found`;
  return new StatusError(404, 'NotFound', message, aboutObject(resource, name));
}

/**
 * 500: the object is on disk, and cannot be read there. It is not gone, so nobody may take it for gone. The reason is that
 * of Kubernetes for objects that it cannot decode or decrypt.
 */
export function damagedObject(resource: ResourceName, name: string, problem: string): StatusError {
  const repair = 'create it anew from its document (kubectl create -f FILE), or restore a backup of the store';
  const about = `the stored ${formatResource(resource)} "${name}"`;
  const message = problem.startsWith(lockedWords)
    ? `${about} cannot be read: ${problem}`
    : `${about} is damaged (${problem}); ${repair}`;
  return new StatusError(500, 'StorageReadError', message, aboutObject(resource, name));
}

/** So begins what is said of an object whose key is not at hand: it is whole, and there is nothing to make anew. */
export const lockedWords = 'it is encrypted with the key';

/** 500: what would be written cannot be encrypted, or would overwrite what only lacks its key. */
export function cannotSeal(problem: string): StatusError {
  return new StatusError(500, 'StorageError', `nothing was written: ${problem}`);
}

/** 404: the store has no such path at all. */
export function unknownPath(): StatusError {
  return new StatusError(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function alreadyExists(resource: ResourceName, name: string): StatusError {
  const message = `${formatResource(resource)} "${name}" already exists`;
  return new StatusError(409, 'AlreadyExists', message, aboutObject(resource, name));
}

export const objectModified =
  'the object has been modified; please apply your changes to the latest version and try again';

/** 409: a precondition on resourceVersion or uid does not hold. */
export function conflict(resource: ResourceName, name: string, because: string): StatusError {
  const message = `Operation cannot be fulfilled on ${formatResource(resource)} "${name}": ${because}`;
  return new StatusError(409, 'Conflict', message, aboutObject(resource, name));
}

export function badRequest(message: string, options?: ErrorOptions): StatusError {
  return new StatusError(400, 'BadRequest', message, undefined, options);
}

export function forbidden(
  resource: ResourceName,
  name: string,
  because: string,
  causes?: readonly StatusCause[],
): StatusError {
  const message = `${formatResource(resource)} "${name}" is forbidden: ${because}`;
  const details = aboutObject(resource, name);
  return new StatusError(403, 'Forbidden', message, causes === undefined ? details : { ...details, causes });
}

/** One object can break rules a million times, and each takes more words than the mistake: the first ones must do. */
const maxErrorsTold = 50;

/** 422: the object breaks rules of its kind; one cause for each field, of the first fields. */
export function invalid(
  kind: { readonly group: string; readonly kind: string },
  name: string,
  errors: readonly FieldError[],
): StatusError {
  const told = errors.slice(0, maxErrorsTold);
  const more = errors.length > told.length ? [`and ${errors.length - told.length} more`] : [];
  const texts = [...told.map(formatFieldError), ...more];
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  const qualified = kind.group === '' ? kind.kind : `${kind.kind}.${kind.group}`;
  return new StatusError(422, 'Invalid', `${qualified} "${name}" is invalid: ${list}`, {
    name,
    ...(kind.group === '' ? {} : { group: kind.group }),
    kind: kind.kind,
    causes: told.map(causeOf),
  });
}

/** 422: the object is all right in itself, but the patch cannot be applied to it. */
export function patchFailed(message: string): StatusError {
  return new StatusError(422, 'Invalid', `the patch cannot be applied: ${message}`, {
    causes: [{ reason: 'UnexpectedServerResponse', message }],
  });
}

export function methodNotAllowed(method: string): StatusError {
  const message = `the server does not allow this method on the requested resource: ${method}`;
  return new StatusError(405, 'MethodNotAllowed', message, {});
}

/** 405: the definition of the kind is being removed. */
export function kindTerminating(): StatusError {
  const message = 'create not allowed while custom resource definition is terminating';
  return new StatusError(405, 'MethodNotAllowed', message, {});
}

/** 405: objects of this kind show others, which are what can be written. */
export function readOnlyKind(method: string, { plural }: ResourceName, name: string | undefined): StatusError {
  const message = `${plural} are read-only here: each shows the container of its name; ${method} containers.holdfast.dev instead`;
  return new StatusError(405, 'MethodNotAllowed', message, { ...(name === undefined ? {} : { name }), kind: plural });
}

export function unauthorized(): StatusError {
  return new StatusError(401, 'Unauthorized', 'Unauthorized');
}

export function notAcceptable(accepted: readonly string[]): StatusError {
  const message = `only the following media types are accepted: ${accepted.join(', ')}`;
  return new StatusError(406, 'NotAcceptable', message);
}

export function unsupportedMediaType(accepted: readonly string[], because?: string): StatusError {
  const list = `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`;
  return new StatusError(415, 'UnsupportedMediaType', because === undefined ? list : `${because}; ${list}`);
}

export function tooLarge(message: string): StatusError {
  return new StatusError(413, 'RequestEntityTooLarge', `Request entity too large: ${message}`);
}

/** 410: the revision asked for is no longer, or not yet, known; the client must list again. */
export function expired(message: string): StatusError {
  return new StatusError(410, 'Expired', message);
}

/** 504: a list asked for a revision that this store has not reached. client-go lists again from the present. */
export function revisionTooLarge(asked: number, current: number): StatusError {
  return new StatusError(504, 'Timeout', `Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}

export function serviceUnavailable(message: string, options?: ErrorOptions): StatusError {
  return new StatusError(503, 'ServiceUnavailable', message, undefined, options);
}

/** 507: the write did not reach the disk; nothing was changed. */
export function insufficientStorage(message: string, options?: ErrorOptions): StatusError {
  return new StatusError(507, 'InsufficientStorage', message, undefined, options);
}

export function internalError(message: string, options?: ErrorOptions): StatusError {
  return new StatusError(500, 'InternalError', `Internal error occurred: ${message}`, undefined, options);
}

/** 403: as the kubelet answers a client of SPDY whose protocols it does not speak. */
export function forbiddenProtocol(offered: readonly string[], spoken: readonly string[]): StatusError {
  const message = `unable to upgrade: none of the protocols ${offered.join(', ')} is spoken here; these are: ${spoken.join(', ')}`;
  return new StatusError(403, 'Forbidden', message);
}

/** 429: every session costs memory and sockets. */
export function tooManySessions(limit: number): StatusError {
  const message = `${limit} sessions of exec, attach and port-forward are open, which is the limit; end some`;
  return new StatusError(429, 'TooManyRequests', message, { retryAfterSeconds: 1 });
}
