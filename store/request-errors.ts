/** What an error that came up while a request was served is to the client. Pure. */
import { badRequest, internalError, StatusError, tooLarge } from './status-error.ts';

/** The largest body of a request, as kube-apiserver limits it. Archives are not read into memory, and have no limit. */
export const maxBodyBytes = 3 * 1024 * 1024;

/** Errors of reading the body carry a `type`. Source: README of raw-body. */
export function toStatusError(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  if (error instanceof URIError) return badRequest(`the path is not valid percent-encoding: ${error.message}`);
  const type = error instanceof Error && 'type' in error ? error.type : undefined;
  const what = error instanceof Error ? error.message : String(error);
  switch (type) {
    case 'entity.too.large':
      return tooLarge(`limit is ${maxBodyBytes}`);
    case 'encoding.unsupported':
      return new StatusError(415, 'UnsupportedMediaType', `${what}; send the body as it is, or with gzip`);
    case 'request.aborted':
    case 'request.size.invalid':
      return badRequest(what);
    default:
      break;
  }
  const status = error instanceof Error && 'status' in error ? error.status : undefined;
  if (status === 400) return badRequest(what);
  return internalError('the store has a fault; its log says more', { cause: error });
}
