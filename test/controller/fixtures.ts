/** Objects and containers for the controller's tests. */
import { type Desired, labelKeys, parseDesired } from '../../controller/desired.ts';
import type { Container, ContainerSpec, ContainerStatus } from '../../crds/index.ts';
import type { ContainerInfo, ContainerState } from '../../runtime/index.ts';

export const spec: ContainerSpec = {
  image: 'web:1',
  imagePullPolicy: 'IfNotPresent',
  dnsPolicy: 'ClusterFirst',
  hostNetwork: false,
  ipFamilyPolicy: 'SingleStack',
  init: false,
  desiredState: 'Running',
  restartPolicy: 'Always',
  restart: {},
  backoff: { initial: '1s', factor: 2, max: '60s', jitter: 0, resetAfter: '60s' },
  securityContext: { readOnlyRootFilesystem: false },
  hostPID: false,
  hostIPC: false,
  hostUsers: true,
  resources: { limits: { pids: 4096 } },
  terminationGracePeriodSeconds: 30,
  logging: { maxSize: '10Mi', maxFiles: 3 },
};

export interface ObjectOptions {
  readonly name?: string;
  readonly namespace?: string;
  readonly spec?: Partial<ContainerSpec>;
  readonly status?: ContainerStatus;
  readonly deletionTimestamp?: string;
  readonly finalizers?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
}

export function object(options: ObjectOptions = {}): Container {
  const name = options.name ?? 'web';
  return {
    apiVersion: 'holdfast.dev/v1',
    kind: 'Container',
    metadata: {
      name,
      namespace: options.namespace ?? 'default',
      uid: `uid-of-${name}`,
      resourceVersion: '7',
      generation: 1,
      creationTimestamp: '2026-01-01T00:00:00Z',
      deletionTimestamp: options.deletionTimestamp,
      finalizers: options.finalizers,
      annotations: options.annotations,
    },
    spec: { ...spec, ...options.spec },
    status: options.status,
  };
}

/** The parsed spec; fails the test if the spec is not valid. */
export function desired(options: ObjectOptions = {}): Desired {
  const parsed = parseDesired(object(options));
  if (parsed.problem !== undefined) throw new Error(parsed.problem.message);
  return parsed;
}

export function container(state: ContainerState, options: Partial<ContainerInfo> = {}): ContainerInfo {
  const wanted = desired();
  return {
    id: wanted.containerID,
    name: 'default/web',
    imageID: 'sha256:1',
    labels: { [labelKeys.specHash]: wanted.specHash, [labelKeys.mutableHash]: 'm', [labelKeys.graceMs]: '30000' },
    createdAtMs: 0,
    state,
    ip: '10.0.0.2',
    ports: [],
    stopSignal: 15,
    debugSessions: 0,
    ...options,
  };
}

export const running = (startedAtMs = 1_000): ContainerState => ({ kind: 'running', pid: 42, startedAtMs });
export const paused = (startedAtMs = 1_000): ContainerState => ({
  kind: 'running',
  pid: 42,
  startedAtMs,
  isPaused: true,
});
export const exited = (
  code: number,
  finishedAtMs = 2_000,
  startedAtMs: number | undefined = 1_000,
): ContainerState => ({
  kind: 'exited',
  startedAtMs,
  exit: { code, signal: code > 128 ? code - 128 : undefined, oomKilled: false, finishedAtMs },
});
