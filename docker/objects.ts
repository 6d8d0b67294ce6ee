/**
 * The Container objects of this host, as the store tells of them, and changes to them. A copy in memory that a watch keeps
 * fresh, and that knows of one's own writes at once. Effects.
 */
import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import {
  type ApiAccess,
  ApiError,
  callApi,
  containersPath,
  isOlderVersion,
  parseContainer,
  startListWatch,
} from '../client/index.ts';
import { apiVersion, type Container, plural } from '../crds/index.ts';
import { conflict, DockerError } from './docker-error.ts';

export interface ObjectsDeps {
  readonly access: ApiAccess;
  readonly nodeName: string;
  readonly log: Logger;
}

/** What was there before and is now; one of them is there. */
export interface Change {
  readonly before: Container | undefined;
  readonly after: Container | undefined;
}

export interface Objects {
  /** Resolves when the first list is in. */
  readonly synced: Promise<void>;
  list(): readonly Container[];
  /** By uid; undefined when it is gone. */
  get(uid: string): Container | undefined;
  /** By namespace and name. */
  find(namespace: string, name: string): Container | undefined;
  /** Throws DockerError: refused by the store, or a name that is taken (409). */
  create(namespace: string, object: object, signal: AbortSignal): Promise<Container>;
  /** A merge patch that counts for this very object only. Throws DockerError (404: it is gone). */
  patch(object: Container, change: object, signal: AbortSignal): Promise<Container>;
  /** No error if it is gone. */
  remove(object: Container, signal: AbortSignal): Promise<void>;
  /** Calls the listener for every change until the returned function is called. A listener must not throw. */
  subscribe(listener: (change: Change) => void): () => void;
  /**
   * Resolves to the first answer other than undefined that `look` gives of the object, now or after a change of it;
   * `look` is given undefined once it is gone. Rejects with the signal's reason.
   */
  waitFor<T>(uid: string, look: (object: Container | undefined) => T | undefined, signal: AbortSignal): Promise<T>;
  close(): Promise<void>;
}

export function createObjects({ access, nodeName, log }: ObjectsDeps): Objects {
  const known = new Map<string, Container>();
  /** Of objects that are gone, so that a late answer does not bring one back. */
  const gone = new Set<string>();
  /** Written by us since the last list was asked for: one that was taken before does not tell that they are gone. */
  const written = new Set<string>();
  const listeners = new Set<(change: Change) => void>();
  const isOurs = ({ spec }: Container): boolean => (spec.nodeName ?? '') === '' || spec.nodeName === nodeName;
  const tell = (change: Change): void => {
    for (const listener of [...listeners]) listener(change);
  };
  const note = (object: Container): void => {
    const { uid, resourceVersion } = object.metadata;
    const before = known.get(uid);
    if (gone.has(uid)) return;
    if (before !== undefined && !isOlderVersion(before.metadata.resourceVersion, resourceVersion)) return;
    if (!isOurs(object)) return before === undefined ? undefined : forget(before);
    known.set(uid, object);
    tell({ before, after: object });
  };
  const forget = (object: Container): void => {
    const { uid } = object.metadata;
    const before = known.get(uid);
    gone.add(uid);
    written.delete(uid);
    if (gone.size > maxGone) for (const first of gone) if (gone.size > maxGone / 2) gone.delete(first);
    if (before === undefined) return;
    known.delete(uid);
    tell({ before, after: undefined });
  };
  const listWatch = startListWatch<Container>({
    access,
    path: containersPath,
    list: (query, signal) => {
      if (query.continue === undefined) written.clear();
      return callApi(access, { method: 'GET', path: containersPath, query, signal });
    },
    parse: parseContainer,
    onReplace: (objects, version) => {
      const uids = new Set(objects.map(({ metadata }) => metadata.uid));
      for (const [uid, object] of known) {
        const isLater = written.has(uid) && isOlderVersion(version, object.metadata.resourceVersion);
        if (!uids.has(uid) && !isLater) forget(object);
      }
      for (const object of objects) note(object);
    },
    onChange: (kind, object) => (kind === 'applied' ? note(object) : forget(object)),
    onActivity: () => {},
    onReconnect: () => {},
    now: Date.now,
    random: Math.random,
    log,
  });
  const pathOf = (namespace: string, name = ''): string =>
    `/apis/${apiVersion}/namespaces/${namespace}/${plural}${name === '' ? '' : `/${name}`}`;
  const read = (answer: unknown): Container => {
    const object = parseContainer(answer);
    if (object === undefined) throw new DockerError(502, 'the API server answered with a body that is no Container');
    note(object);
    if (known.has(object.metadata.uid)) written.add(object.metadata.uid);
    return known.get(object.metadata.uid) ?? object;
  };
  return {
    synced: listWatch.synced,
    list: () => [...known.values()],
    get: (uid) => known.get(uid),
    find: (namespace, name) =>
      [...known.values()].find(({ metadata }) => metadata.namespace === namespace && metadata.name === name),
    create: async (namespace, body, signal) => {
      try {
        return read(await callApi(access, { method: 'POST', path: pathOf(namespace), body, signal }));
      } catch (error) {
        throw toDockerError(error);
      }
    },
    patch: async ({ metadata: { uid, namespace, name } }, change, signal) => {
      const body = withUid(change, uid);
      const contentType = 'application/merge-patch+json';
      try {
        return read(
          await callApi(access, { method: 'PATCH', path: pathOf(namespace, name), body, contentType, signal }),
        );
      } catch (error) {
        throw toDockerError(error);
      }
    },
    remove: async ({ metadata: { uid, namespace, name } }, signal) => {
      const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid } };
      try {
        await callApi(access, { method: 'DELETE', path: pathOf(namespace, name), body, signal });
      } catch (error) {
        // 409: another object has the name by now.
        if (error instanceof ApiError && (error.code === 404 || error.code === 409)) return;
        throw toDockerError(error);
      }
    },
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    waitFor: (uid, look, signal) =>
      new Promise((resolve, reject) => {
        const first = look(known.get(uid));
        if (first !== undefined) return resolve(first);
        if (signal.aborted) return reject(signal.reason);
        const end = (): void => {
          listeners.delete(listener);
          signal.removeEventListener('abort', aborted);
        };
        const aborted = (): void => {
          end();
          reject(signal.reason);
        };
        const listener = ({ before, after }: Change): void => {
          if ((after ?? before)?.metadata.uid !== uid) return;
          try {
            const found = look(after);
            if (found === undefined) return;
            end();
            resolve(found);
          } catch (error) {
            end();
            reject(error);
          }
        };
        listeners.add(listener);
        setMaxListeners(0, signal);
        signal.addEventListener('abort', aborted, { once: true });
      }),
    close: () => listWatch.close(),
  };
}

const maxGone = 10_000;

function withUid(change: object, uid: string): object {
  const metadata = 'metadata' in change && typeof change.metadata === 'object' ? change.metadata : {};
  return { ...change, metadata: { ...metadata, uid } };
}

/** The store's answers in Docker's numbers; its words name the field and the fix already. */
export function toDockerError(error: unknown): unknown {
  if (!(error instanceof ApiError)) return error;
  const { code, reason, message } = error;
  const words = message.replace(/^.*?the API server answered \d+ \w+: /, '');
  if (code === 404) return new DockerError(404, words, { cause: error });
  if (code === 409) return conflict(words);
  if (code === 422 || code === 400) return new DockerError(400, words, { cause: error });
  return new DockerError(code >= 500 ? 503 : code, `${reason}: ${words}`, { cause: error });
}
