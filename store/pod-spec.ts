/**
 * A Container's spec in the words of a Pod, as a scheduler and a kubelet would have filled it. Pure. Nothing is made up: what
 * a Pod has and a Container has not stays away. Source of the fields: k8s.io/api/core/v1; of QoS classes: qos.GetPodQOS.
 */
import { getPath, getString, isJsonObject, type Json, type JsonObject, objectsOf, pick } from './json.ts';
import { amountOf, isSameQuantity } from './quantity.ts';
import type { KubeObject } from './resources.ts';

/** Fields that mean the same in a Container's spec and in a Pod's container. */
const containerFields = [
  ...['image', 'imagePullPolicy', 'command', 'args', 'workingDir', 'env', 'envFrom', 'stdin', 'stdinOnce', 'tty'],
  ...['volumeMounts', 'startupProbe', 'livenessProbe', 'readinessProbe', 'lifecycle'],
];

/** Fields that mean the same in a Container's spec and in a Pod's. */
const podFields = [
  ...['terminationGracePeriodSeconds', 'hostname', 'hostNetwork', 'hostPID', 'hostIPC', 'hostUsers', 'hostAliases'],
  ...['dnsPolicy', 'dnsConfig', 'imagePullSecrets'],
];

/** Fields of securityContext that mean the same in that of a Pod's container. */
const securityFields = [
  ...['readOnlyRootFilesystem', 'privileged', 'capabilities', 'allowPrivilegeEscalation', 'seccompProfile'],
  ...['procMount', 'runAsUser', 'runAsGroup', 'runAsNonRoot'],
];

export function podSpecOf(container: KubeObject): JsonObject {
  const nodeName = getString(container, 'status', 'nodeName') ?? getString(container, 'spec', 'nodeName');
  const ports = objectsOf(getPath(container, ['spec', 'ports'])).map(({ hostPort, hostPortEnd: _, ...port }) =>
    typeof hostPort === 'number' && hostPort > 0 ? { ...port, hostPort } : port,
  );
  const security = mapOf(getPath(container, ['spec', 'securityContext']));
  const ownSecurity = pick(security, securityFields);
  const restartPolicy = getString(container, 'spec', 'restartPolicy') ?? 'Always';
  return {
    containers: [
      {
        name: container.metadata.name,
        ...pick(container.spec, containerFields),
        ...(ports.length === 0 ? {} : { ports }),
        resources: podResourcesOf(container),
        ...(Object.keys(ownSecurity).length === 0 ? {} : { securityContext: ownSecurity }),
      },
    ],
    restartPolicy: restartPolicy === 'UnlessStopped' ? 'Always' : restartPolicy,
    ...pick(container.spec, podFields),
    securityContext: pick(security, ['sysctls', 'supplementalGroups']),
    ...podVolumesOf(container),
    // No Service is told to it by its environment, no token of the API is in its file system.
    enableServiceLinks: false,
    automountServiceAccountToken: false,
    schedulerName: 'holdfast',
    ...(nodeName === undefined ? {} : { nodeName }),
  };
}

/** Volumes in the words of a Pod, as near as it has them. */
function podVolumesOf(container: KubeObject): JsonObject {
  const volumes = objectsOf(getPath(container, ['spec', 'volumes'])).map(({ volume, tmpfs, ...same }): JsonObject => {
    if (isJsonObject(volume)) return { ...same, persistentVolumeClaim: { claimName: volume.name ?? '' } };
    if (!isJsonObject(tmpfs)) return same;
    return { ...same, emptyDir: { medium: 'Memory', ...pick(tmpfs, ['sizeLimit']) } };
  });
  return volumes.length === 0 ? {} : { volumes };
}

/** Limits and requests of processor and memory; without a request the limit is it, as Kubernetes' defaults have it. */
export function podResourcesOf(container: KubeObject): JsonObject {
  const given = (kind: 'limits' | 'requests') => {
    const known = pick(getPath(container, ['spec', 'resources', kind]), ['cpu', 'memory']);
    return Object.fromEntries(Object.entries(known).map(([name, value]) => [name, String(value)]));
  };
  const limits = given('limits');
  const requests = { ...limits, ...given('requests') };
  return {
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(Object.keys(requests).length === 0 ? {} : { requests }),
  };
}

/** The quality of service that Kubernetes would promise. */
export function qosClassOf({ limits, requests }: JsonObject): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const isSet = (kind: Json | undefined, name: string): boolean => (amountOf(getPath(kind, [name])) ?? 0) > 0;
  const names = ['cpu', 'memory'];
  if (!names.some((name) => isSet(limits, name) || isSet(requests, name))) return 'BestEffort';
  const isGuaranteed = names.every(
    (name) => isSet(limits, name) && isSameQuantity(getPath(limits, [name]), getPath(requests, [name])),
  );
  return isGuaranteed ? 'Guaranteed' : 'Burstable';
}

export function mapOf(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}
