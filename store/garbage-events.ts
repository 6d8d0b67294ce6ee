/** The event about an object that names an owner in another namespace. Source: kube-controller-manager, OwnerRefInvalidNamespace. */
import { randomUUID } from 'node:crypto';
import { formatTime } from './format-time.ts';
import { getString, type JsonObject } from './json.ts';
import type { KubeObject } from './resources.ts';

/** As Kubernetes places it: with its object, or in `default` for one of a cluster-wide kind. */
export function ownerNamespaceEvent(object: KubeObject, owner: JsonObject, nowMs: number): KubeObject {
  const { name, namespace, uid, resourceVersion } = object.metadata;
  const time = formatTime(nowMs);
  const part = (field: string): string => getString(owner, field) ?? '';
  const place = namespace === undefined ? '' : `namespace: ${namespace}, `;
  const identity = `[${part('apiVersion')}/${part('kind')}, ${place}name: ${part('name')}, uid: ${part('uid')}]`;
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: {
      name: `${name.slice(0, 200)}.${randomUUID().replaceAll('-', '').slice(0, 16)}`,
      namespace: namespace ?? 'default',
      uid: randomUUID(),
      creationTimestamp: time,
    },
    involvedObject: {
      apiVersion: object.apiVersion,
      kind: object.kind,
      name,
      ...(namespace === undefined ? {} : { namespace }),
      uid,
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    reason: 'OwnerRefInvalidNamespace',
    message: `ownerRef ${identity} does not exist in namespace ${JSON.stringify(namespace ?? '')}`,
    type: 'Warning',
    count: 1,
    firstTimestamp: time,
    lastTimestamp: time,
    eventTime: null,
    source: { component: 'garbage-collector-controller' },
    reportingComponent: 'garbage-collector-controller',
    reportingInstance: '',
  };
}
