/**
 * A rename. An object of the API cannot be renamed, so a new one takes the container over as it runs: it
 * is created with an annotation that says so, and the old one is deleted. Each step finds out whether it was done before,
 * so an interrupted rename is finished by the same command. Effects.
 */
import { setTimeout as wait } from 'node:timers/promises';
import {
  apiVersion,
  type Container,
  containerIDOf,
  formatRenamedFrom,
  hostnameOf,
  parseRename,
  plural,
  renamedFromAnnotation,
} from '../crds/index.ts';
import { type ApiAccess, ApiError, callApi } from './call-api.ts';
import { parseContainer } from './containers.ts';

/** It cannot be renamed so; the message says why, and what to do. */
export class RenameError extends Error {
  override readonly name = 'RenameError';
}

export interface RenameRequest {
  readonly access: ApiAccess;
  readonly namespace: string;
  readonly from: string;
  readonly to: string;
  readonly deadlineMs: number;
  /** Annotations that the new object has besides, or (undefined) no more. */
  readonly annotations?: Readonly<Record<string, string | undefined>> | undefined;
}

const pollMs = 100;
/** What tells of the old object alone. */
const ownAnnotations = new Set(['kubectl.kubernetes.io/last-applied-configuration', 'holdfast.dev/signal']);

/** Resolves when the container goes on under its new name. Throws RenameError, ApiError, or what the network throws. */
export async function rename(request: RenameRequest, signal: AbortSignal): Promise<void> {
  const { access, namespace, from, to, deadlineMs } = request;
  const collection = `/apis/${apiVersion}/namespaces/${namespace}/${plural}`;
  const find = async (name: string): Promise<Container | undefined> => {
    try {
      return parseContainer(await callApi(access, { method: 'GET', path: `${collection}/${name}`, signal }));
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return undefined;
      throw error;
    }
  };
  const old = await find(from);
  const present = await find(to);
  if (present === undefined) {
    if (old === undefined) {
      throw new RenameError(
        `there is no container "${from}" in namespace "${namespace}"; see kubectl get ctr -n ${namespace}`,
      );
    }
    if (old.metadata.deletionTimestamp !== undefined) {
      throw new RenameError(`"${from}" is being deleted; apply its spec anew under the name "${to}"`);
    }
    const body = heirOf(old, to, request.annotations);
    await callApi(access, { method: 'POST', path: collection, body, signal });
  } else if (!isHeir(present, from, old)) {
    throw new RenameError(
      `there is already a container "${to}" in namespace "${namespace}"; remove it or choose another name`,
    );
  }
  if (old !== undefined) {
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: old.metadata.uid } };
    await callApi(access, { method: 'DELETE', path: `${collection}/${from}`, body, signal }).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.code === 404)) throw error;
    });
  }
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const heir = await find(to);
    const former = await find(from);
    const isHandedOver = heir !== undefined && heir.status?.containerID === containerIDOf(heir);
    if (isHandedOver && (former === undefined || former.metadata.uid !== (old ?? former).metadata.uid)) return;
    if (performance.now() > endMs) {
      const why = heir?.status?.message ?? 'its controller has not seen it';
      throw new RenameError(
        `"${to}" has not taken over from "${from}" within ${deadlineMs / 1000} s: ${why}; it goes on when the controller runs, and the same command waits for it`,
      );
    }
    await wait(pollMs, undefined, { signal });
  }
}

/** Whether this object takes over from the one that is to be renamed; when that one is gone, its name must do. */
function isHeir(object: Container, from: string, old: Container | undefined): boolean {
  const origin = parseRename(object);
  return origin.kind === 'from' && origin.name === from && (old === undefined || origin.uid === old.metadata.uid);
}

/** The same container under another name. Its host name stays what it is, since a process cannot be told of another. */
function heirOf(old: Container, name: string, changes: RenameRequest['annotations'] = {}): unknown {
  const { metadata, spec } = old;
  const kept = Object.entries(metadata.annotations ?? {}).filter(([key]) => !ownAnnotations.has(key));
  return {
    apiVersion,
    kind: 'Container',
    metadata: {
      name,
      labels: metadata.labels,
      annotations: { ...Object.fromEntries(kept), ...changes, [renamedFromAnnotation]: formatRenamedFrom(old) },
    },
    spec: { ...spec, hostname: hostnameOf(old) },
  };
}
