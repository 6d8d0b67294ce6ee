/** What the controller says to the API server about Containers, and how it reads them. Effects; writes are behind the store's breaker. */

import { type ApiAccess, ApiError, type ApiRequest, callApi, containersPath, parseContainer } from '../client/index.ts';
import { type Container, type ContainerStatus, finalizer, group, plural, version } from '../crds/index.ts';
import type { Run } from './breakers.ts';

export interface ContainerApi {
  call(request: ApiRequest): Promise<unknown>;
  list(query: Record<string, string | number | undefined>, signal: AbortSignal): Promise<unknown>;
  /** Returns the object as it is now. Throws ApiError (404: it is gone). */
  patchStatus(object: Container, patch: Record<string, unknown>, signal: AbortSignal): Promise<Container>;
  setFinalizer(object: Container, isWanted: boolean, signal: AbortSignal): Promise<Container>;
  /** Deletes the object if it is still this one, in this version. Throws ApiError (404, 409). */
  remove(object: Container, version: string, signal: AbortSignal): Promise<void>;
}

/**
 * Reads are few, and wait by their own backoff. Behind the writes' breaker, whose one probe of each round a write takes,
 * they would not be made at all for as long as writes fail: 103 statuses of one crash loop in 200 s, and no list.
 */
export function createContainerApi(
  access: ApiAccess,
  runs: { readonly reads: Run; readonly writes: Run },
): ContainerApi {
  const call = (request: ApiRequest): Promise<unknown> =>
    (request.method === 'GET' ? runs.reads : runs.writes)(() => callApi(access, request), request.signal);
  const pathOf = ({ metadata }: Container): string =>
    `/apis/${group}/${version}/namespaces/${metadata.namespace}/${plural}/${metadata.name}`;
  const patch = async (
    object: Container,
    subresource: '' | '/status',
    body: unknown,
    signal: AbortSignal,
  ): Promise<Container> => {
    const answer = await call({
      method: 'PATCH',
      path: pathOf(object) + subresource,
      contentType: 'application/merge-patch+json',
      body,
      signal,
    });
    const parsed = parseContainer(answer);
    if (parsed === undefined)
      throw new ApiError(`PATCH ${pathOf(object)}${subresource}`, 502, 'BadGateway', 'a body that is no Container');
    return parsed;
  };
  return {
    call,
    list: (query, signal) => call({ method: 'GET', path: containersPath, query, signal }),
    // The uid is a precondition: a status must not land on a new object of the same name.
    patchStatus: (object, status, signal) =>
      patch(object, '/status', { metadata: { uid: object.metadata.uid }, status }, signal),
    remove: async (object, version, signal) => {
      const preconditions = { uid: object.metadata.uid, resourceVersion: version };
      const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions };
      await call({ method: 'DELETE', path: pathOf(object), body, signal });
    },
    setFinalizer: (object, isWanted, signal) => {
      const others = (object.metadata.finalizers ?? []).filter((one) => one !== finalizer);
      const finalizers = isWanted ? [...others, finalizer] : others;
      return patch(
        object,
        '',
        { metadata: { uid: object.metadata.uid, resourceVersion: object.metadata.resourceVersion, finalizers } },
        signal,
      );
    },
  };
}

/** An error after which the store itself is in doubt, not only this request. */
export function isStoreFailure(error: unknown): boolean {
  return !(error instanceof ApiError) || error.code >= 500 || error.code === 429;
}

export type { ContainerStatus };
