/** What the controller asks the API server when a list is not to be believed at its word: who are you, and is it really gone? Effects. */

import { ApiError, containersPath, parseContainer } from '../client/index.ts';
import type { Container } from '../crds/index.ts';
import { formatRenamedFrom, renamedFromAnnotation } from '../crds/index.ts';
import type { StoreIdentity } from './absence.ts';
import type { ContainerApi } from './api.ts';

type Api = Pick<ContainerApi, 'call' | 'ask'>;

const identityPath = '/api/v1/namespaces/kube-system';
/** Set by the store that was restored from a backup. */
const restorationAnnotation = 'holdfast.dev/store-restored';

/**
 * The uid of the namespace kube-system, by which a cluster is known (OpenTelemetry's k8s.cluster.uid is the same), and by
 * which restoration it came to be as it is. No uid: the server does not let us read it. Throws what the request throws.
 */
export async function identifyStore({ ask }: Api, signal: AbortSignal): Promise<StoreIdentity> {
  try {
    const answer = await ask({ method: 'GET', path: identityPath, signal });
    // Each member is looked at before use.
    type Metadata = { uid?: unknown; annotations?: Readonly<Record<string, unknown>> | null };
    const metadata = (answer as { metadata?: Metadata | null } | null)?.metadata;
    const uid = metadata?.uid;
    if (typeof uid !== 'string' || uid === '')
      throw new TypeError(`GET ${identityPath}: the API server answered with something that is no Namespace`);
    const restoration = metadata?.annotations?.[restorationAnnotation];
    return { uid, restoration: typeof restoration === 'string' ? restoration : undefined };
  } catch (error) {
    if (error instanceof ApiError && [403, 404, 405].includes(error.code)) return { uid: undefined };
    throw error;
  }
}

/** Kubernetes' word for an object that is stored and cannot be decoded or decrypted. */
const storageReadError = 'StorageReadError';

/** Throws for every answer other than the object itself, the API server's own 404, and that it cannot read what it has. */
export async function askForObject(
  { call }: Api,
  key: string,
  signal: AbortSignal,
): Promise<{ readonly kind: 'gone' | 'damaged' } | { readonly kind: 'there'; readonly object: Container }> {
  const path = pathOf(key);
  try {
    const object = parseContainer(await call({ method: 'GET', path, signal }));
    if (object === undefined)
      throw new TypeError(`GET ${path}: the API server answered with something that is no Container`);
    return { kind: 'there', object };
  } catch (error) {
    if (error instanceof ApiError && error.code === 404 && error.reason === 'NotFound') return { kind: 'gone' };
    if (error instanceof ApiError && error.reason === storageReadError) return { kind: 'damaged' };
    throw error;
  }
}

/** Says of an object that it takes over the container of another one of its name. undefined: it is gone meanwhile. */
export async function markAsHeir(
  { call }: Api,
  heir: Container,
  former: Parameters<typeof formatRenamedFrom>[0],
  signal: AbortSignal,
): Promise<Container | undefined> {
  const { namespace, name, uid, resourceVersion } = heir.metadata;
  try {
    const answer = await call({
      method: 'PATCH',
      path: pathOf(`${namespace}/${name}`),
      contentType: 'application/merge-patch+json',
      body: { metadata: { uid, resourceVersion, annotations: { [renamedFromAnnotation]: formatRenamedFrom(former) } } },
      signal,
    });
    return parseContainer(answer);
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return undefined;
    throw error;
  }
}

function pathOf(key: string): string {
  const [namespace = '', name = ''] = key.split('/', 2);
  return `${containersPath.replace('/containers', `/namespaces/${namespace}/containers`)}/${name}`;
}
