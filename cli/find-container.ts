/** Finds a container of this host by the name of its object, also while the API server is away. Effects. */

import { type ApiAccess, ApiError, callApi, containersPath, parseContainer } from '../client/index.ts';
import { labelKeys } from '../controller/index.ts';
import { apiVersion } from '../crds/index.ts';
import type { Runtime } from '../runtime/index.ts';
import type { KubeObject, StreamTarget } from '../store/index.ts';

/** What its status says makes messages better, but nobody waits long for it. */
const askMs = 2_000;

export function createContainerFinder(
  runtime: Runtime,
  access: ApiAccess,
): (namespace: string, name: string) => Promise<StreamTarget | undefined> {
  return async (namespace, name) => {
    const found = (await runtime.containers.list())
      .filter(({ labels }) => labels[labelKeys.namespace] === namespace && labels[labelKeys.name] === name)
      .toSorted((a, b) => b.createdAtMs - a.createdAtMs)
      .at(0);
    const uid = found?.labels[labelKeys.uid];
    if (found === undefined || uid === undefined) return undefined;
    // What is known without the API server.
    const known: KubeObject = {
      apiVersion,
      kind: 'Container',
      metadata: { name, namespace, uid, creationTimestamp: new Date(found.createdAtMs).toISOString() },
      status: { containerID: found.id },
    };
    const latest = async (): Promise<KubeObject | undefined> => {
      try {
        const path = `${containersPath.replace('/containers', `/namespaces/${namespace}/containers`)}/${name}`;
        const answer = await callApi(access, { method: 'GET', path, signal: AbortSignal.timeout(askMs) });
        const object = parseContainer(answer);
        return object?.metadata.uid === uid ? (answer as KubeObject) : undefined; // parseContainer has judged its shape
      } catch (error) {
        if (error instanceof ApiError && error.code === 404) return undefined;
        return known; // the API server is away: the container is there all the same
      }
    };
    return { namespace, name, uid, object: (await latest()) ?? known, latest };
  };
}
