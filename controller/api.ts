/** What the controller says to the API server about Containers, and how it reads them. Effects; all but lists behind the store's breaker. */

import { type ApiAccess, ApiError, type ApiRequest, callApi, containersPath, parseContainer } from '../client/index.ts';
import { type Container, type ContainerStatus, finalizer, group, plural, version } from '../crds/index.ts';
import type { Run } from './breakers.ts';

export interface ContainerApi {
  /** Behind the breaker. */
  call(request: ApiRequest): Promise<unknown>;
  /** Behind none: for lists and what goes with them, which are few and wait by their own backoff. */
  ask(request: ApiRequest): Promise<unknown>;
  list(query: Record<string, string | number | undefined>, signal: AbortSignal): Promise<unknown>;
  /** Returns the object as it is now. Throws ApiError (404: it is gone). */
  patchStatus(object: Container, patch: Record<string, unknown>, signal: AbortSignal): Promise<Container>;
  setFinalizer(object: Container, isWanted: boolean, signal: AbortSignal): Promise<Container>;
  /** Deletes the object if it is still this one, in this version. Throws ApiError (404, 409). */
  remove(object: Container, version: string, signal: AbortSignal): Promise<void>;
}

/**
 * `lists` behind the breaker of `calls`, whose one probe of each round a write takes, would not be made at all for as long
 * as writes fail: 103 statuses of one crash loop in 200 s, and no list.
 */
export function createContainerApi(
  access: ApiAccess,
  runs: { readonly lists: Run; readonly calls: Run },
): ContainerApi {
  const call = (request: ApiRequest): Promise<unknown> => runs.calls(() => callApi(access, request), request.signal);
  const ask = (request: ApiRequest): Promise<unknown> => runs.lists(() => callApi(access, request), request.signal);
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
    ask,
    list: (query, signal) => ask({ method: 'GET', path: containersPath, query, signal }),
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
