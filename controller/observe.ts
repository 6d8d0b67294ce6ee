/**
 * Looks at what else a container's step depends on: the containers it links to, the circle it may be in, the objects that
 * its environment refers to. Effects: reads only.
 */
import type { Container } from '../crds/index.ts';
import { addressPlaceholderOf, containerIDOf, hostnameOf } from '../crds/index.ts';
import type { EnvVar, Exit } from '../runtime/index.ts';
import type { Obstacle } from './decide.ts';
import { type Desired, labelKeys, type Mutable } from './desired.ts';
import { distinct } from './distinct.ts';
import type { ReconcileDeps } from './entry.ts';
import { needsHostIP, resolveEnvironment } from './environment.ts';
import { meaningOf, parseExitCodes } from './exit-codes.ts';
import { observeHostIP } from './host-address.ts';
import { hostAliasesOf } from './identity.ts';
import { type Dependency, findCycle, linkEnv, linkHosts } from './links.ts';
import { isDualStack } from './names.ts';
import { dnsNamesOf, networkDnsOf, resolveNetworks } from './networks.ts';
import { healthForOthers } from './observe-health.ts';
import type { Sources } from './sources.ts';
import { resolveFiles } from './volume-files.ts';

/** The present objects by key. */
export interface Objects {
  object(key: string): Container | undefined;
}

/** The desired state, with its problem if the dependencies run in a circle that this container is part of. */
export function checkCycle(object: Container, desired: Desired, { object: find }: Objects): Desired {
  if (desired.problem !== undefined || desired.dependsOn.length === 0) return desired;
  const { namespace, name } = object.metadata;
  // Whoever merely depends on one in a circle waits for it; only those in it are at fault.
  const cycle = findCycle(name, (one) => namesOf(one === name ? object : find(`${namespace}/${one}`)));
  if (cycle === undefined) return desired;
  const message = `spec.links and spec.dependsOn: ${cycle.join(' → ')} is a circle, so none of them could ever start; remove one of these`;
  return { ...desired, problem: { reason: 'DependencyCycle', message } };
}

function namesOf(object: Container | undefined): string[] {
  return [...(object?.spec.links ?? []), ...(object?.spec.dependsOn ?? [])].map(({ name }) => name);
}

const none: readonly Dependency[] = [];

/** One for each name in desired.dependsOn. */
export async function observeDependencies(
  object: Container,
  desired: Desired,
  {
    view,
    runtime,
    entries,
    ...host
  }: Pick<ReconcileDeps, 'runtime' | 'entries' | 'sources' | 'nodeName'> & { readonly view: Objects },
): Promise<readonly Dependency[]> {
  if (desired.dependsOn.length === 0) return none;
  return await Promise.all(
    desired.dependsOn.map(async (name): Promise<Dependency> => {
      const target = view.object(`${object.metadata.namespace}/${name}`);
      const unknown: Dependency = { name, state: target === undefined ? 'missing' : 'waiting', ports: [], env: [] };
      if (target === undefined) return unknown;
      const container = await runtime.containers.inspect(containerIDOf(target));
      if (container === undefined || container.labels[labelKeys.uid] !== target.metadata.uid) return unknown;
      const { state, ip } = container;
      const ip6 = isDualStack(target.spec) === true ? container.ip6 : undefined;
      const isLinked = desired.links.some((link) => link.name === name);
      const imageConfig = isLinked ? (await runtime.images.inspect(container.imageID))?.config : undefined;
      const hasStarted = state.kind === 'running' && (!isLinked || ip !== undefined);
      const endedBy = entries.get(container.id)?.history.lastTermination?.endedBy;
      const hasCompleted = state.kind === 'exited' && endedBy === undefined && isSuccess(target, state.exit);
      return {
        name,
        state: hasStarted ? 'running' : hasCompleted ? 'completed' : 'waiting',
        runMs: state.kind === 'created' ? undefined : state.startedAtMs,
        health: state.kind === 'running' ? healthForOthers(target, state, { entries }) : undefined,
        ending: state.kind === 'exited' && !hasCompleted ? describeExit(state.exit) : undefined,
        ip,
        ip6,
        hostname: hostnameOf(target),
        ports: (target.spec.ports ?? []).map((port) => ({
          port: port.containerPort,
          protocol: port.protocol === 'UDP' ? 'udp' : 'tcp',
        })),
        env: isLinked ? await sharedEnvOf(target, ip, host) : [],
        imageConfig,
      };
    }),
  );
}

function isSuccess(
  { spec }: Container,
  exit: { readonly code: number; readonly signal?: number | undefined },
): boolean {
  return meaningOf(parseExitCodes(spec.restart.exitCodes).rules, exit) === 'success';
}

function describeExit({ code, signal }: Exit): string {
  if (code < 0) return 'ended unseen';
  return signal === undefined ? `exited with code ${code}` : `was killed by signal ${signal}`;
}

interface HostView {
  readonly sources: Sources;
  readonly nodeName: string;
}

/** A container's own variables as those that link to it may see them: without those whose values come from Secrets. */
async function sharedEnvOf(target: Container, ip: string | undefined, host: HostView): Promise<readonly EnvVar[]> {
  const { env, secretNames } = resolveEnvironment({
    ...host,
    object: target,
    given: [],
    hostIP: await hostIPFor(target),
    podIP: ip ?? '',
  });
  return env.filter(({ name }) => !secretNames.has(name));
}

async function hostIPFor({ spec }: Container): Promise<string> {
  return needsHostIP(spec) ? await observeHostIP() : '';
}

/** `secrets`: values that come from Secrets, as far as they are known. */
export type MutableState = { readonly secrets: readonly string[] } & (
  | { readonly kind: 'known'; readonly mutable: Mutable }
  /** Something that it comes from is not there: a link has no address, a Secret does not exist. What is there is kept. */
  | { readonly kind: 'unknown'; readonly obstacle: Obstacle | undefined }
);

/** What can change in place, as it should be. */
export async function observeMutable(
  desired: Desired,
  object: Container,
  dependencies: readonly Dependency[],
  host: HostView,
): Promise<MutableState> {
  const { limits, log } = desired.config;
  const hasNoAddress = ({ name }: { readonly name: string }): boolean =>
    dependencies.find((one) => one.name === name)?.ip === undefined;
  const { env, command, args, secrets, missing, unknown } = resolveEnvironment({
    ...host,
    object,
    given: linkEnv(object.metadata.name, desired.links, dependencies),
    hostIP: await hostIPFor(object),
    podIP: addressPlaceholderOf(desired.containerID),
  });
  // It waits for its links already.
  if (desired.links.some(hasNoAddress)) return { kind: 'unknown', obstacle: undefined, secrets };
  const { files, ...lacking } = resolveFiles(object, host.sources);
  const { networks, ...absent } = resolveNetworks(object, host.sources);
  const obstacle = findObstacle({
    environment: [...missing, ...absent.missing],
    files: lacking.missing,
    unknown: distinct([...unknown, ...lacking.unknown, ...absent.unknown]),
  });
  if (obstacle !== undefined) return { kind: 'unknown', obstacle, secrets };
  return {
    kind: 'known',
    mutable: {
      hosts: [...hostAliasesOf(object.spec), ...linkHosts(desired.links, dependencies)],
      env,
      entrypoint: command,
      cmd: args,
      limits,
      log,
      dnsNames: dnsNamesOf(object),
      dns: networkDnsOf(object.metadata.namespace, object.spec),
      networks,
      isDualStack: isDualStack(object.spec),
      files,
      keepsImageVolumes: object.spec.imageVolumes?.reclaimPolicy === 'Retain',
    },
    secrets,
  };
}

/** Pure. Reasons are the kubelet's. */
function findObstacle(lacking: {
  /** What is not there: of the environment, or a network. */
  readonly environment: readonly string[];
  readonly files: readonly string[];
  /** What was not heard of yet. */
  readonly unknown: readonly string[];
}): Obstacle | undefined {
  const { environment, files, unknown } = lacking;
  if (environment.length > 0)
    return { before: 'start', reason: 'CreateContainerConfigError', message: environment.join('; ') };
  if (files.length > 0) return { before: 'start', reason: 'FailedMount', message: files.join('; ') };
  if (unknown.length === 0) return undefined;
  const message = `waits to hear of ${unknown.join(', ')} from the API server; if this lasts, see the controller's log for why it cannot read them`;
  return { before: 'create', reason: 'ContainerCreating', message };
}
